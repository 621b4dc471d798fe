// SPDX-License-Identifier: Apache-2.0
// The life of a server process, with a fake engine and without signals.
#include "server/lifecycle.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "server/grpc/generation_service.h"
#include "server/grpc/health_service.h"
#include "tests/scoped_directory.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using ::grpc::health::v1::HealthCheckResponse;
using testing::HasSubstr;

// RunServer in a thread.
class LifecycleTest : public testing::Test {
 protected:
  LifecycleTest() { options_.listen.port_file = directory_.path() + "/ports"; }
  ~LifecycleTest() override {
    if (process_.joinable()) Join();
  }

  // The factory's engine is `engine_`, valid until the server has ended.
  void Launch(const std::optional<FakeEngine::Script>& script = std::nullopt) {
    LaunchWith([this, script](const EngineOptions&, const std::shared_ptr<Progress>&) {
      auto engine = std::make_unique<FakeEngine>(script);
      engine_ = engine.get();
      return std::unique_ptr<Engine>(std::move(engine));
    });
  }
  void LaunchWith(EngineFactory factory) {
    process_ = std::thread([this, factory = std::move(factory)] {
      exit_code_ = RunServer(options_, factory, &events_, &log_);
    });
  }
  void WaitUntilServing() {
    while (!std::filesystem::exists(options_.listen.port_file)) std::this_thread::yield();
    std::ifstream file(options_.listen.port_file);
    std::string line;
    std::getline(file, line);
    ASSERT_EQ(line.rfind("grpc_port=", 0), 0U) << line;
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ = grpc::CreateCustomChannel("127.0.0.1:" + line.substr(10),
                                         grpc::InsecureChannelCredentials(), arguments);
    WaitForHealth(HealthCheckResponse::SERVING);
  }
  void WaitForHealth(int wanted, const std::string& service = "") {
    while (Health(channel_, service) != wanted) std::this_thread::yield();
  }
  // A client whose stream, the first, runs when this returns. It has ended when the thread has.
  std::thread StartStream(StreamEnd* end) {
    std::thread client([this, end] { *end = Generate(); });
    engine_->WaitForRequest(0);
    return client;
  }
  int Join() {
    events_.Stop();
    process_.join();
    return exit_code_;
  }
  std::string LogText() {
    log_.Flush();
    std::fseek(log_file_.get(), 0, SEEK_SET);
    std::string text;
    for (int c = 0; (c = std::fgetc(log_file_.get())) != EOF;) text += static_cast<char>(c);
    return text;
  }
  StreamEnd Generate() {
    grpc::ClientContext context;
    const auto stub = v1::GenerationService::NewStub(channel_);
    return ReadAll(stub->Generate(&context, TextRequest()).get());
  }

  const ScopedDirectory directory_;
  ServerOptions options_ = TestOptions();
  Events events_;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> log_file_{std::tmpfile(), &std::fclose};
  Log log_{LogFormat::kText, fileno(log_file_.get())};
  FakeEngine* engine_ = nullptr;
  std::shared_ptr<grpc::Channel> channel_;
  std::thread process_;
  int exit_code_ = -1;
};

TEST_F(LifecycleTest, ServesAndStops) {
  Launch(FakeEngine::Script{MakeTokens({"a", "b"}), {}});
  WaitUntilServing();
  EXPECT_EQ(Generate().text(), "ab");
  EXPECT_EQ(Join(), kExitOk);
  const std::string log = LogText();
  EXPECT_THAT(log, HasSubstr(" descriptor_limit before="));
  EXPECT_THAT(log, HasSubstr(" listening version="));
  EXPECT_THAT(log, HasSubstr(" max_connections="));
  EXPECT_THAT(log, HasSubstr(" ready model=fake parameters=1234 backend=cpu isa=scalar "
                             "precision=f32 kv_precision=f32 threads=1 "));
  EXPECT_THAT(log, HasSubstr(" device_memory name=\"cache pages\" bytes=4096"));
  EXPECT_THAT(log, HasSubstr(" warning message=\"a warning\""));
  EXPECT_THAT(log, HasSubstr(" stopped flushed=true cut=0 engine_failed=false"));
}

TEST_F(LifecycleTest, DrainLosesNoStream) {
  options_.drain.budget = std::chrono::hours(1);
  Launch();
  WaitUntilServing();
  constexpr int kStreams = 16;
  std::vector<StreamEnd> ends(kStreams);
  std::vector<std::thread> clients;
  clients.reserve(kStreams);
  for (int i = 0; i < kStreams; ++i) {
    clients.emplace_back([&, i] { ends[i] = Generate(); });
  }
  engine_->WaitForRequest(kStreams - 1);
  for (int i = 1; i <= kStreams; ++i) engine_->Emit(i, MakeTokens({"a", "b"}));
  events_.Stop();
  WaitForHealth(HealthCheckResponse::NOT_SERVING);
  // Those that end within the budget end as they would have, the rest as DRAINED.
  while (!engine_->draining()) std::this_thread::yield();
  Finish finish;
  finish.reason = EndReason::kLength;
  for (int i = 1; i <= kStreams / 2; ++i) engine_->End(i, finish);
  engine_->EndDrain();
  for (std::thread& client : clients) client.join();
  int finished = 0, drained = 0;
  for (const StreamEnd& end : ends) {
    ASSERT_TRUE(end.status.ok()) << end.status.error_message();
    EXPECT_EQ(end.text(), "ab");
    finished += end.messages.back().final().finish_reason() == v1::FINISH_REASON_LENGTH;
    drained += end.messages.back().final().finish_reason() == v1::FINISH_REASON_DRAINED;
  }
  EXPECT_EQ(finished, kStreams / 2);
  EXPECT_EQ(drained, kStreams / 2);
  EXPECT_EQ(Join(), kExitOk);
  EXPECT_THAT(LogText(), HasSubstr("stopped flushed=true"));
}

TEST_F(LifecycleTest, AcceptsDuringGraceAndRefusesAfterIt) {
  options_.drain.grace = std::chrono::hours(1);
  options_.drain.budget = std::chrono::hours(1);
  Launch(FakeEngine::Script{MakeTokens({"a"}), {}});
  WaitUntilServing();
  events_.Stop();
  WaitForHealth(HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Generate().text(), "a");
  engine_->Fail(absl::InternalError("a step failed"));  // ends the grace too
  EXPECT_EQ(Join(), kExitEngineFailed);
}

TEST_F(LifecycleTest, RefusesWhileDraining) {
  options_.drain.budget = std::chrono::hours(1);
  Launch();
  WaitUntilServing();
  StreamEnd running;
  std::thread client = StartStream(&running);
  events_.Stop();
  StreamEnd refused;
  while (refused.status.error_code() != grpc::StatusCode::UNAVAILABLE) {
    // Accepted if it came before the drain began: then it must not keep the server from ending.
    std::thread late([&] { refused = Generate(); });
    while (!engine_->draining() && engine_->num_running() < 2) std::this_thread::yield();
    if (engine_->num_running() > 1) engine_->End(engine_->num_accepted(), {});
    late.join();
  }
  engine_->End(1, {});
  client.join();
  EXPECT_TRUE(running.status.ok());
  EXPECT_EQ(Join(), kExitOk);
}

TEST_F(LifecycleTest, FailedEngineEndsTheProcess) {
  Launch();
  WaitUntilServing();
  StreamEnd end;
  std::thread client = StartStream(&end);
  engine_->Fail(absl::InternalError("logits are not finite"));
  client.join();
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  process_.join();
  EXPECT_EQ(exit_code_, kExitEngineFailed);
  EXPECT_THAT(LogText(), HasSubstr("error message=\"logits are not finite\""));
}

TEST_F(LifecycleTest, FailedStepIsToldByHealthAndByOpenStreams) {
  options_.stream.stall_timeout = options_.drain.flush = std::chrono::hours(1);
  Launch();
  WaitUntilServing();
  grpc::ClientContext context;
  const auto stub = v1::GenerationService::NewStub(channel_);
  const auto unread = stub->Generate(&context, TextRequest());
  engine_->WaitForRequest(0);
  for (int i = 0; i < 64; ++i) engine_->Emit(1, MakeTokens({std::string(256 << 10, 'x')}));
  StreamEnd read;
  std::thread client([&] { read = Generate(); });
  engine_->WaitForRequest(1);
  engine_->Fail(absl::InternalError("a step failed"));
  // The server stays until the unread stream's text has been taken.
  WaitForHealth(HealthCheckResponse::NOT_SERVING);
  WaitForHealth(HealthCheckResponse::NOT_SERVING, kGenerationServiceName);
  WaitForHealth(HealthCheckResponse::NOT_SERVING, kLivenessName);
  client.join();
  EXPECT_EQ(read.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReadAll(unread.get()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  process_.join();
  EXPECT_EQ(exit_code_, kExitEngineFailed);
}

// Its calls end with what they have and UNAVAILABLE, and the engine is left to itself, since its
// destructor would wait for the step.
class StuckEngineTest : public LifecycleTest, public testing::WithParamInterface<bool> {};

TEST_P(StuckEngineTest, EndsCallsAndProcess) {
  const bool draining = GetParam();
  options_.drain.budget = std::chrono::hours(1);
  Launch();
  WaitUntilServing();
  StreamEnd end;
  std::thread client = StartStream(&end);
  engine_->Emit(1, MakeTokens({"so far"}));
  if (draining) {
    events_.Stop();
    while (!engine_->draining()) std::this_thread::yield();
  }
  engine_->GetStuck();
  client.join();
  EXPECT_EQ(end.text(), "so far");
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_THAT(end.status.error_message(), HasSubstr("a step has not come back"));
  process_.join();
  EXPECT_EQ(exit_code_, kExitEngineFailed);
  EXPECT_THAT(LogText(), HasSubstr("stopped flushed=true cut=0 engine_failed=true"));
  EXPECT_THAT(LogText(), HasSubstr("code=UNAVAILABLE reason=unavailable"));
}

INSTANTIATE_TEST_SUITE_P(StuckEngine, StuckEngineTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "draining" : "serving"; });

// The requests end before the thread that watches for failures has said a word.
TEST_F(LifecycleTest, FailureDuringTheDrainEndsTheProcessAsFailed) {
  options_.drain.budget = std::chrono::hours(1);
  Launch();
  WaitUntilServing();
  StreamEnd end;
  std::thread client = StartStream(&end);
  engine_->WithholdFailure();
  events_.Stop();
  while (!engine_->draining()) std::this_thread::yield();
  engine_->Fail(absl::InternalError("a step failed"));
  client.join();
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  process_.join();
  EXPECT_EQ(exit_code_, kExitEngineFailed);
  EXPECT_THAT(LogText(), HasSubstr("stopped flushed=true cut=0 engine_failed=true"));
  EXPECT_THAT(LogText(), HasSubstr("error message=\"a step failed\""));
}

TEST_F(LifecycleTest, StreamsThatAreCutAtTheEndAreCounted) {
  options_.stream.stall_timeout = std::chrono::hours(1);
  options_.drain.flush = Milliseconds(100);
  Launch();
  WaitUntilServing();
  grpc::ClientContext context;
  const auto stub = v1::GenerationService::NewStub(channel_);
  const auto reader = stub->Generate(&context, TextRequest());  // and nobody reads
  engine_->WaitForRequest(0);
  for (int i = 0; i < 64; ++i) engine_->Emit(1, MakeTokens({std::string(256 << 10, 'x')}));
  events_.Stop();
  while (!engine_->draining()) std::this_thread::yield();
  engine_->EndDrain();
  process_.join();
  EXPECT_EQ(exit_code_, kExitOk);
  EXPECT_THAT(LogText(), HasSubstr("stopped flushed=false cut=1 engine_failed=false"));
  EXPECT_THAT(LogText(), HasSubstr("code=UNAVAILABLE reason=unavailable"));
  EXPECT_EQ(ReadAll(reader.get()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(LifecycleTest, TooLittleMemoryIsSaid) {
  options_.engine.schedule.slots = 77;
  LaunchWith([](const EngineOptions&,
                const std::shared_ptr<Progress>&) -> absl::StatusOr<std::unique_ptr<Engine>> {
    throw std::bad_alloc();
  });
  process_.join();
  EXPECT_EQ(exit_code_, kExitCannotStart);
  EXPECT_THAT(LogText(), HasSubstr("not enough memory"));
  EXPECT_THAT(LogText(), HasSubstr("--slots=77"));
}

TEST_F(LifecycleTest, ModelThatCannotBeLoadedEndsTheProcess) {
  LaunchWith([](const EngineOptions&, const std::shared_ptr<Progress>&) {
    return absl::InvalidArgumentError("--model: no config.json in /nowhere");
  });
  process_.join();
  EXPECT_EQ(exit_code_, kExitCannotStart);
  EXPECT_THAT(LogText(), HasSubstr("error message=\"--model: no config.json in /nowhere\""));
}

TEST_F(LifecycleTest, LoadingSaysHowFarItIs) {
  LaunchWith([this](const EngineOptions&, const std::shared_ptr<Progress>& progress) {
    progress->Begin("packing weights", 200);
    progress->Add(50);
    while (LogText().find("percent") == std::string::npos) std::this_thread::yield();
    return absl::InvalidArgumentError("enough");
  });
  process_.join();
  EXPECT_THAT(LogText(), HasSubstr("doing=\"packing weights\" percent=25"));
}

TEST_F(LifecycleTest, FilesAreThereUntilTheEnd) {
  options_.listen.listen = *ParseAddress("unix:" + directory_.path() + "/calls");
  options_.listen.metrics_listen = *ParseAddress("unix:" + directory_.path() + "/metrics");
  Launch();
  while (!std::filesystem::exists(options_.listen.port_file)) std::this_thread::yield();
  std::ifstream file(options_.listen.port_file);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  EXPECT_EQ(text,
            absl::StrCat("grpc_address=", options_.listen.listen.ToString(),
                         "\nmetrics_address=", options_.listen.metrics_listen.ToString(), "\n"));
  channel_ =
      grpc::CreateChannel(options_.listen.listen.ToString(), grpc::InsecureChannelCredentials());
  WaitForHealth(HealthCheckResponse::SERVING);
  EXPECT_EQ(HttpGet(options_.listen.metrics_listen, "/metrics").status, 200);
  EXPECT_EQ(Join(), kExitOk);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
  EXPECT_THAT(LogText(), HasSubstr(" grpc_address=unix:" + directory_.path() + "/calls "));
}

// The process ends amid the load, by another way than at other times.
TEST(LifecycleDeathTest, AStopWhileLoadingLeavesNoFile) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  // The child runs this test again from its beginning, and must find the directory of its parent.
  constexpr char kVariable[] = "RECURVE_LIFECYCLE_DEATH_TEST";
  std::optional<ScopedDirectory> own;
  if (std::getenv(kVariable) == nullptr) setenv(kVariable, own.emplace().path().c_str(), 1);
  const std::string directory = std::getenv(kVariable);
  ServerOptions options = TestOptions();
  options.listen.port_file = directory + "/ports";
  options.listen.metrics_listen = *ParseAddress("unix:" + directory + "/metrics");
  Events events;
  const auto stop_amid_the_load = [&](const EngineOptions&, const std::shared_ptr<Progress>&) {
    const bool there = std::filesystem::exists(directory + "/ports") &&
                       std::filesystem::exists(directory + "/metrics");
    if (!there) std::_Exit(99);
    events.Stop();
    while (true) std::this_thread::sleep_for(std::chrono::hours(1));
    return std::unique_ptr<Engine>();
  };
  EXPECT_EXIT(
      {
        Log log(LogFormat::kText, STDERR_FILENO);
        RunServer(options, stop_amid_the_load, &events, &log);
      },
      testing::ExitedWithCode(kExitOk), "stopped while=loading");
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  unsetenv(kVariable);
}

TEST_F(LifecycleTest, NothingListensBeforeEverythingIsChecked) {
  options_.listen.listen = *ParseAddress("unix:" + directory_.path() + "/calls");
  options_.listen.metrics_listen = *ParseAddress("192.0.2.1:1");  // of no machine
  options_.listen.port_file.clear();
  Launch();
  process_.join();
  EXPECT_EQ(exit_code_, kExitCannotStart);
  EXPECT_THAT(LogText(), HasSubstr("--metrics_listen: cannot listen on 192.0.2.1:1"));
  options_.listen.metrics_listen = TestOptions().listen.metrics_listen;
  options_.listen.port_file = directory_.path();
  Launch();
  process_.join();
  EXPECT_EQ(exit_code_, kExitCannotStart);
  EXPECT_THAT(LogText(), HasSubstr("--port_file: cannot write " + directory_.path()));
  EXPECT_THAT(LogText(), testing::Not(HasSubstr("listening")));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(LifecycleTest, PortsInUseAreNamed) {
  Log log(LogFormat::kText, fileno(log_file_.get()));
  auto first = Server::Create(TestOptions(), &log);
  ASSERT_TRUE(first.ok());
  ServerOptions options = TestOptions();
  options.listen.listen = (*first)->grpc_address();
  auto second = Server::Create(options, &log);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("--listen: cannot listen on " + options.listen.listen.ToString()));
  options = TestOptions();
  options.listen.metrics_listen = (*first)->metrics_address();
  second = Server::Create(options, &log);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("--metrics_listen: cannot"));
}

}  // namespace
}  // namespace recurve
