// SPDX-License-Identifier: Apache-2.0
// The page for people: a playground and a view of the engine, from files that are part of the
// program. They hold nothing of the model, the servers or the clients: what the page shows it asks
// for as any client does.
#ifndef RECURVE_CLIENT_GATEWAY_PAGE_H_
#define RECURVE_CLIENT_GATEWAY_PAGE_H_

#include <string>

#include "server/net/http_server.h"

namespace recurve::gateway {

struct PageFile {
  std::string content;
  const char* content_type;
  std::string etag;  // of the content, in its quotes
};

// What is at this path, `/` or below `/page/`; null if nothing is. Thread-safe.
const PageFile* FindPageFile(const std::string& path);

// The file, or that the client has it already. It is kept, and asked for again each time: a new
// gateway's page is new at once.
HttpResponse PageResponse(const PageFile& file, const HttpRequest& request);

}  // namespace recurve::gateway

#endif  // RECURVE_CLIENT_GATEWAY_PAGE_H_
