// SPDX-License-Identifier: Apache-2.0
#include "client/gateway/page.h"

#include <nlohmann/json.hpp>
#include <string>

#include "client/gateway/engine_view.h"
#include "gtest/gtest.h"

namespace recurve::gateway {
namespace {

using nlohmann::json;

std::string HeaderOf(const HttpResponse& response, const std::string& name) {
  for (const auto& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

HttpRequest IfNoneMatch(const std::string& etags) {
  HttpRequest request;
  request.headers["if-none-match"] = etags;
  return request;
}

TEST(PageTest, EveryFileThatThePageNamesIsThere) {
  const PageFile* const page = FindPageFile("/");
  ASSERT_NE(page, nullptr);
  size_t named = 0;
  const std::string text(page->content);
  for (size_t at = text.find("\"page/"); at != std::string::npos;
       at = text.find("\"page/", at + 1)) {
    const std::string path = "/" + text.substr(at + 1, text.find('"', at + 1) - at - 1);
    EXPECT_NE(FindPageFile(path), nullptr) << path;
    ++named;
  }
  EXPECT_GE(named, 5U);
  EXPECT_EQ(FindPageFile("/page/"), nullptr);
  EXPECT_EQ(FindPageFile("/page/index.html"), nullptr);
  EXPECT_EQ(FindPageFile("/page/../main.cc"), nullptr);
}

TEST(PageTest, AFileIsNotSentAgainToWhoHasIt) {
  const PageFile& file = *FindPageFile("/page/main.js");
  const HttpResponse first = PageResponse(file, {});
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.body, file.content);
  EXPECT_EQ(first.content_type, "text/javascript; charset=utf-8");
  EXPECT_NE(HeaderOf(first, "Content-Security-Policy"), "");
  const std::string etag = HeaderOf(first, "ETag");
  for (const std::string& has : {etag, "W/" + etag, "\"x\", " + etag, std::string("*")}) {
    const HttpResponse again = PageResponse(file, IfNoneMatch(has));
    EXPECT_EQ(again.status, 304) << has;
    EXPECT_EQ(again.body, "");
    EXPECT_EQ(HeaderOf(again, "ETag"), etag);
  }
  const std::string other = FindPageFile("/page/api.js")->etag;
  EXPECT_NE(other, etag);
  EXPECT_EQ(PageResponse(file, IfNoneMatch(other)).status, 200);
}

TEST(EngineViewTest, TellsOfEachServerAndNamesTemplatesAlone) {
  ModelInfo model;
  model.set_model_name("m");
  model.add_chat_templates()->set_name("default");
  model.mutable_chat_templates(0)->set_text("{{ secret }}");
  v1::GetLoadResponse load;
  load.set_steps(uint64_t{1} << 60);
  const auto view = EngineView(model, {{"a", load}, {"b\"", absl::UnavailableError("gone \xFF")}});
  ASSERT_TRUE(view.ok()) << view.status();
  const json object = json::parse(*view);
  EXPECT_EQ(object["model"]["model_name"], "m");
  EXPECT_EQ(object["model"]["num_recursions"], 0);  // though it has its default
  EXPECT_EQ(object["model"]["chat_templates"], (json{{{"name", "default"}, {"text", ""}}}));
  EXPECT_EQ(object["servers"][0]["name"], "a");
  EXPECT_EQ(object["servers"][0]["load"]["steps"], "1152921504606846976");
  EXPECT_EQ(object["servers"][1]["name"], "b\"");
  EXPECT_FALSE(object["servers"][1].contains("load"));
  const auto none = EngineView(model, {{"b", absl::UnauthenticatedError("who")}});
  EXPECT_TRUE(absl::IsUnauthenticated(none.status()));
}

}  // namespace
}  // namespace recurve::gateway
