// SPDX-License-Identifier: Apache-2.0
#include "client/cli/token.h"

#include <openssl/evp.h>
#include <sys/random.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include "absl/strings/string_view.h"

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/report.h"

namespace recurve::client {
namespace {

constexpr size_t kMaxIdBytes = 64;  // as the server has them
constexpr size_t kMaxTenantBytes = 128;
constexpr size_t kSecretBytes = 32;

absl::Status CheckName(absl::string_view flag, absl::string_view name, size_t most,
                       bool (*allowed)(unsigned char), absl::string_view expected) {
  const bool good = !name.empty() && name.size() <= most &&
                    std::all_of(name.begin(), name.end(), [allowed](char c) {
                      return allowed(static_cast<unsigned char>(c));
                    });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      flag, " is '", absl::CEscape(name), "'; it must have from 1 to ", most, " ", expected));
}

bool MayStandInId(unsigned char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_'; }

struct TokenFlags {
  std::string id, tenant;
};

int Token(const TokenFlags& flags) {
  const auto made = MakeToken(flags.id, flags.tenant.empty() ? flags.id : flags.tenant);
  if (!made.ok()) return ReportError(made.status());
  std::printf("%s\n%s\n", made->token.c_str(), made->entry.c_str());
  std::fprintf(stderr,
               "The first line is the client's: keep it in a file for --token_file, which nobody "
               "else can read.\nThe second goes into \"tokens\" of the server's --access_file.\n");
  return 0;
}

}  // namespace

absl::StatusOr<NewToken> MakeToken(const std::string& id, const std::string& tenant) {
  absl::Status names =
      CheckName("--id", id, kMaxIdBytes, &MayStandInId, "letters, digits, hyphens and underscores");
  names.Update(CheckName("--tenant", tenant, kMaxTenantBytes, &absl::ascii_isprint,
                         "printable ASCII characters"));
  if (!names.ok()) return names;
  std::array<char, kSecretBytes> random;
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    return absl::ErrnoToStatus(errno, "the system has no random numbers");
  }
  std::string secret;
  absl::WebSafeBase64Escape(absl::string_view(random.data(), random.size()), &secret);
  std::string digest(EVP_MAX_MD_SIZE, '\0');
  unsigned int size = 0;
  if (EVP_Digest(secret.data(), secret.size(), reinterpret_cast<unsigned char*>(digest.data()),
                 &size, EVP_sha256(), nullptr) != 1) {
    return absl::InternalError("OpenSSL computes no SHA-256");
  }
  digest.resize(size);
  const nlohmann::ordered_json entry = {
      {"id", id}, {"sha256", absl::BytesToHexString(digest)}, {"tenant", tenant}};
  return NewToken{absl::StrCat(id, ".", secret), entry.dump()};
}

void AddTokenCommand(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<TokenFlags>();
  CLI::App* command =
      app.add_subcommand("token", "Make a token, and its entry for a server's --access_file");
  command->add_option("--id", flags->id, "Name of the token, as logs and files have it")
      ->required();
  command->add_option("--tenant", flags->tenant, "Who its calls are of; unset: the id");
  command->callback([flags, &exit_code] { exit_code = Token(*flags); });
}

}  // namespace recurve::client
