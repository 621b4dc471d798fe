// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/page.h"

#include <functional>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "client/gateway/page_files.h"
#include "client/hash.h"

namespace recurve::gateway {
namespace {

constexpr char kFirst[] = "index.html";

// Nothing but these files, and calls of this gateway; no script or style inside the HTML, none made
// of text.
constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

const char* TypeOf(const std::string& name) {
  if (absl::EndsWith(name, ".html")) return "text/html; charset=utf-8";
  if (absl::EndsWith(name, ".css")) return "text/css; charset=utf-8";
  if (absl::EndsWith(name, ".js")) return "text/javascript; charset=utf-8";
  return "image/svg+xml";
}

bool HasIt(const std::string& if_none_match, const std::string& etag) {
  for (absl::string_view one : absl::StrSplit(if_none_match, ',')) {
    one = absl::StripAsciiWhitespace(one);
    absl::ConsumePrefix(&one, "W/");
    if (one == etag || one == "*") return true;
  }
  return false;
}

}  // namespace

const PageFile* FindPageFile(const std::string& path) {
  static const auto* const files = [] {
    auto* const all = new std::map<std::string, PageFile, std::less<>>;
    for (const auto& [name, content] : kPageFiles) {
      const std::string at = name == std::string(kFirst) ? "/" : absl::StrCat("/page/", name);
      all->emplace(at, PageFile{content, TypeOf(name),
                                absl::StrFormat("\"%016x\"", client::HashOf(content))});
    }
    return all;
  }();
  const auto found = files->find(path);
  return found == files->end() ? nullptr : &found->second;
}

HttpResponse PageResponse(const PageFile& file, const HttpRequest& request) {
  HttpResponse response = {.headers = {{"ETag", file.etag},
                                       {"Cache-Control", "no-cache"},
                                       {"Content-Security-Policy", kPolicy},
                                       {"Cross-Origin-Opener-Policy", "same-origin"},
                                       {"Cross-Origin-Resource-Policy", "same-origin"},
                                       {"Referrer-Policy", "no-referrer"},
                                       {"X-Content-Type-Options", "nosniff"}}};
  const auto condition = request.headers.find("if-none-match");
  if (condition != request.headers.end() && HasIt(condition->second, file.etag)) {
    response.status = 304;
    return response;
  }
  response.content_type = file.content_type;
  response.body = file.content;
  return response;
}

}  // namespace recurve::gateway
