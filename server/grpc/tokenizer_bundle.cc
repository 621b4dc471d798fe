// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/tokenizer_bundle.h"

#include <boost/crc.hpp>
#include <cstdint>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "engine/base/check.h"
#include "engine/base/mapped_file.h"
#include "server/access/tokens.h"

namespace recurve {
namespace {

constexpr const char* kFiles[] = {"tokenizer.json",      "tokenizer_config.json",
                                  "chat_template.jinja", "special_tokens_map.json",
                                  "config.json",         "generation_config.json"};

constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;

// Little-endian, as the format wants it.
template <typename Integer>
void Put(Integer value, std::string* out) {
  for (size_t byte = 0; byte < sizeof(Integer); ++byte) {
    out->push_back(static_cast<char>(value >> (8 * byte)));
  }
}

// What a file's own header and its entry in the directory at the end have in common.
std::string Describe(const std::string& name, const std::string& content) {
  boost::crc_32_type crc;
  crc.process_bytes(content.data(), content.size());
  std::string out;
  Put<uint16_t>(10, &out);            // version that is needed: 1.0
  Put<uint16_t>(0, &out);             // flags
  Put<uint16_t>(0, &out);             // not compressed
  Put<uint16_t>(0, &out);             // time: none, so that equal files have equal archives
  Put<uint16_t>((1 << 5) | 1, &out);  // the first day there is, of 1980
  Put<uint32_t>(crc.checksum(), &out);
  Put(static_cast<uint32_t>(content.size()), &out);  // in the archive
  Put(static_cast<uint32_t>(content.size()), &out);
  Put(static_cast<uint16_t>(name.size()), &out);
  Put<uint16_t>(0, &out);  // nothing beyond
  return out;
}

}  // namespace

std::string Zip(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string out, entries;
  for (const auto& [name, content] : files) {
    const std::string facts = Describe(name, content);
    entries += "PK\x01\x02";
    Put<uint16_t>(10, &entries);  // version that made it
    entries += facts;
    Put<uint16_t>(0, &entries);  // no comment
    Put<uint16_t>(0, &entries);  // disk
    Put<uint16_t>(0, &entries);  // attributes
    Put<uint32_t>(0, &entries);
    Put(static_cast<uint32_t>(out.size()), &entries);  // where the file begins
    entries += name;
    out += absl::StrCat("PK\x03\x04", facts, name, content);
  }
  RECURVE_CHECK(out.size() + entries.size() < std::numeric_limits<uint32_t>::max());
  const size_t begin = out.size();
  out += absl::StrCat(entries, "PK\x05\x06");
  Put<uint32_t>(0, &out);  // disks
  Put(static_cast<uint16_t>(files.size()), &out);
  Put(static_cast<uint16_t>(files.size()), &out);
  Put(static_cast<uint32_t>(entries.size()), &out);
  Put(static_cast<uint32_t>(begin), &out);
  Put<uint16_t>(0, &out);  // no comment
  return out;
}

absl::StatusOr<TokenizerBundle> BundleTokenizer(const std::string& directory) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const char* name : kFiles) {
    auto text = ReadTextFile(absl::StrCat(directory, "/", name), kMaxFileBytes);
    if (absl::IsNotFound(text.status())) continue;
    if (!text.ok()) return text.status();
    files.emplace_back(name, *std::move(text));
  }
  if (files.empty() || files.front().first != kFiles[0]) {
    return absl::NotFoundError("the model has no tokenizer.json; its prompts are token ids");
  }
  TokenizerBundle bundle{.zip = Zip(files), .sha256 = ""};
  const Sha256 hash = Sha256Of(bundle.zip);
  bundle.sha256 = absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(hash.data()), hash.size()));
  return bundle;
}

}  // namespace recurve
