// SPDX-License-Identifier: Apache-2.0
// Streams whose client is slow, leaves, or has a deadline, and what the engine hears of it.
#include <grpcpp/generic/generic_stub.h>

#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/server/server_fixture.h"

namespace recurve {
namespace {

using testing::HasSubstr;

// More than any window of a connection whose client does not read.
constexpr size_t kBigToken = 256 << 10;
constexpr int kManyBigTokens = 64;

class StreamTest : public ServerTest {
 protected:
  // A Generate call that is read only when the test says so.
  struct OpenStream {
    std::unique_ptr<v1::GenerationService::Stub> stub;
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> reader;
  };
  std::shared_ptr<grpc::Channel> NewSmallChannel() {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // windows stay small
    arguments.SetInt(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1);
    return NewChannel(arguments);
  }
  std::unique_ptr<OpenStream> Open(std::optional<Milliseconds> timeout = std::nullopt) {
    auto stream = std::make_unique<OpenStream>();
    stream->stub = v1::GenerationService::NewStub(NewSmallChannel());
    if (timeout) stream->context.set_deadline(std::chrono::system_clock::now() + *timeout);
    stream->reader = stream->stub->Generate(&stream->context, TextRequest());
    return stream;
  }
  double Finished(const std::string& reason) {
    return MetricValue(MetricsPage(),
                       absl::StrCat("recurve_request_finished_total{reason=\"", reason, "\"}"))
        .value_or(-1);
  }
};

std::vector<OwnedToken> BigToken() { return MakeTokens({std::string(kBigToken, 'x')}); }

TEST_F(StreamTest, TokensThatWaitAreMergedIntoOneMessage) {
  Start();
  const auto stream = Open();
  engine_->WaitForRequest(0);
  for (int i = 0; i < kManyBigTokens; ++i) engine_->Emit(1, BigToken());
  engine_->End(1, {});
  const StreamEnd end = ReadAll(stream->reader.get());
  ASSERT_TRUE(end.status.ok()) << end.status.error_message();
  int tokens = 0;
  for (const auto& message : end.messages) {
    EXPECT_EQ(message.text().size(), message.tokens_size() * kBigToken);
    tokens += message.tokens_size();
  }
  EXPECT_EQ(tokens, kManyBigTokens);
  EXPECT_LT(end.messages.size(), size_t{kManyBigTokens} / 2);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_egress_backlog_tokens"), 0.0);
}

TEST_F(StreamTest, ClientThatDoesNotReadIsCancelledAndOthersGoOn) {
  options_.stream.stall_timeout = Milliseconds(200);
  Start();
  const auto slow = Open();
  engine_->WaitForRequest(0);
  for (int i = 0; i < kManyBigTokens; ++i) engine_->Emit(1, BigToken());

  const auto quick = Open();
  engine_->WaitForRequest(1);
  v1::GenerateResponse message;
  for (int i = 0; i < 20; ++i) {
    engine_->Emit(2, MakeTokens({"t"}));
    ASSERT_TRUE(quick->reader->Read(&message));
  }
  engine_->WaitUntilEnded(1);  // by the server's cancellation, before anybody read
  engine_->Emit(2, MakeTokens({"t"}));
  engine_->End(2, {});
  EXPECT_TRUE(ReadAll(quick->reader.get()).status.ok());
  EXPECT_EQ(ReadAll(slow->reader.get()).status.error_code(), grpc::StatusCode::CANCELLED);
  Stop();  // the record is complete
  EXPECT_THAT(LogLines(), testing::Contains(HasSubstr("reason=slow_reader")));
}

TEST_F(StreamTest, StallsAreCounted) {
  options_.stream.stall_timeout = Milliseconds(50);
  Start();
  const auto slow = Open();
  engine_->WaitForRequest(0);
  for (int i = 0; i < kManyBigTokens; ++i) engine_->Emit(1, BigToken());
  engine_->WaitUntilEnded(1);  // a client that read before would not be slow
  EXPECT_EQ(ReadAll(slow->reader.get()).status.ok(), false);
  const std::string page = MetricsPage();
  EXPECT_EQ(MetricValue(page, "recurve_egress_stalls_total{cause=\"timeout\"}").value_or(0) +
                MetricValue(page, "recurve_egress_stalls_total{cause=\"buffer\"}").value_or(0),
            1.0);
}

TEST_F(StreamTest, FullBufferCancelsTheStream) {
  options_.stream.buffer_tokens = 8;
  options_.stream.stall_timeout = std::chrono::hours(1);
  Start();
  const auto slow = Open();
  engine_->WaitForRequest(0);
  for (int i = 0; i < kManyBigTokens; ++i) engine_->Emit(1, BigToken());
  engine_->WaitUntilEnded(1);
  EXPECT_EQ(ReadAll(slow->reader.get()).status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_egress_stalls_total{cause=\"buffer\"}"), 1.0);
}

// A Complete call gathers all its tokens; the buffer bound is not for it.
TEST_F(StreamTest, CompleteMayGatherMoreThanTheBuffer) {
  options_.stream.buffer_tokens = 2;
  engine_ = std::make_unique<FakeEngine>(
      FakeEngine::Script{MakeTokens({"a", "b", "c", "d", "e"}), EndReason::kLength});
  Start();
  grpc::ClientContext context;
  v1::CompleteResponse response;
  ASSERT_TRUE(NewStub()->Complete(&context, TextRequest(), &response).ok());
  EXPECT_EQ(response.text(), "abcde");
}

// As a stream of one message, so that the client can leave it lying.
TEST_F(StreamTest, AnswerOfCompleteThatIsNotTakenIsCancelled) {
  options_.stream.stall_timeout = Milliseconds(100);
  Start();
  grpc::Slice bytes(TextRequest().SerializeAsString());
  const grpc::ByteBuffer request(&bytes, 1);
  grpc::GenericStub stub(NewSmallChannel());
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, "/recurve.v1.GenerationService/Complete", &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  call->WriteLast(request, {}, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok) && ok);
  engine_->WaitForRequest(0);
  for (int i = 0; i < kManyBigTokens; ++i) engine_->Emit(1, BigToken());
  engine_->End(1, {});
  EXPECT_EQ(server_->WaitForCalls(std::chrono::steady_clock::now() + std::chrono::minutes(1)), 0U);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_egress_stalls_total{cause=\"timeout\"}"), 1.0);
  EXPECT_EQ(Finished("slow_reader"), 1.0);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);  // gRPC tells the status only to those who have read
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_FALSE(ok);
  grpc::Status status;
  call->Finish(&status, nullptr);
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(StreamTest, CompleteHasNeitherBacklogNorEgressDelay) {
  Start();
  std::thread client([&] {
    grpc::ClientContext context;
    v1::CompleteResponse response;
    EXPECT_TRUE(NewStub()->Complete(&context, TextRequest(), &response).ok());
  });
  engine_->WaitForRequest(0);
  engine_->Emit(1, MakeTokens({"a", "b"}));
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_egress_backlog_tokens"), 0.0);
  engine_->End(1, {});
  client.join();
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_egress_backlog_tokens"), 0.0);
  EXPECT_EQ(MetricValue(MetricsPage(), "recurve_egress_delay_seconds_count"), 0.0);
}

TEST_F(StreamTest, CancelledClientCancelsInTheEngine) {
  Start();
  const auto waiting = Open();  // has no token yet
  engine_->WaitForRequest(0);
  waiting->context.TryCancel();
  engine_->WaitUntilEnded(1);
  EXPECT_EQ(ReadAll(waiting->reader.get()).status.error_code(), grpc::StatusCode::CANCELLED);

  const auto running = Open();
  engine_->WaitForRequest(1);
  engine_->Emit(2, MakeTokens({"a"}));
  v1::GenerateResponse message;
  ASSERT_TRUE(running->reader->Read(&message));
  running->context.TryCancel();
  engine_->WaitUntilEnded(2);

  std::thread complete_call([&] {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + Milliseconds(300));
    v1::CompleteResponse response;
    EXPECT_EQ(NewStub()->Complete(&context, TextRequest(), &response).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  });
  engine_->WaitForRequest(2);
  engine_->WaitUntilEnded(3);
  complete_call.join();
  Stop();
  const auto lines = LogLines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_THAT(lines[0], HasSubstr("reason=cancelled"));
  EXPECT_THAT(lines[1], HasSubstr("reason=cancelled"));
  EXPECT_THAT(lines[2], HasSubstr("method=Complete code=DEADLINE_EXCEEDED"));
  EXPECT_THAT(lines[2], HasSubstr("reason=deadline_exceeded"));
}

TEST_F(StreamTest, DeadlineNoticedByTheEngineComesAfterTheTextSoFar) {
  Start();
  const auto stream = Open();
  engine_->WaitForRequest(0);
  engine_->Emit(1, MakeTokens({"so", " far"}));
  Finish finish;
  finish.status = absl::DeadlineExceededError("the deadline has passed");
  engine_->End(1, finish);
  const StreamEnd end = ReadAll(stream->reader.get());
  EXPECT_EQ(end.text(), "so far");
  EXPECT_EQ(end.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  for (const auto& message : end.messages) EXPECT_FALSE(message.has_final());
  EXPECT_EQ(Finished("deadline_exceeded"), 1.0);
}

TEST_F(StreamTest, FailedEngineEndsAllWithUnavailable) {
  Start();
  std::vector<std::unique_ptr<OpenStream>> streams;
  for (int i = 0; i < 5; ++i) {
    streams.push_back(Open());
    engine_->WaitForRequest(i);
  }
  engine_->Fail(absl::InternalError("not finite"));
  for (const auto& stream : streams) {
    EXPECT_EQ(ReadAll(stream->reader.get()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  }
  EXPECT_EQ(Generate(TextRequest()).status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Finished("unavailable"), 5.0);
}

// Many streams, some cancelled at random moments, some with a deadline, some read slowly: the
// engine is left with nothing, and each request that it accepted ended in exactly one way.
TEST_F(StreamTest, StormOfCancellationsLeavesNothingBehind) {
  constexpr uint32_t kSeed = 20240607;
  constexpr int kThreads = 8;
  constexpr int kCallsEach = 40;
  std::vector<std::string> texts(200, "t");
  engine_ = std::make_unique<FakeEngine>(
      FakeEngine::Script{MakeTokens(texts), EndReason::kEndOfSequence});
  Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(kSeed + t);
      const auto stub = NewStub();
      for (int i = 0; i < kCallsEach; ++i) {
        grpc::ClientContext context;
        if (random() % 4 == 0) {
          context.set_deadline(std::chrono::system_clock::now() + Milliseconds(random() % 10));
        }
        const auto reader = stub->Generate(&context, TextRequest());
        v1::GenerateResponse message;
        std::string text;
        const uint32_t cancel_after = random() % 3 == 0 ? random() % 50 : 1000;
        for (uint32_t n = 0; n < cancel_after && reader->Read(&message); ++n)
          text += message.text();
        if (cancel_after < 1000) context.TryCancel();
        const grpc::Status status = reader->Finish();
        if (status.ok() && cancel_after == 1000) {
          EXPECT_EQ(text, std::string(200, 't'));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server_->WaitForCalls(std::chrono::steady_clock::now() + std::chrono::minutes(2)), 0U)
      << "seed " << kSeed;
  for (Engine::SampleId id = 1; id <= engine_->num_accepted(); ++id) engine_->WaitUntilEnded(id);
  const size_t accepted = engine_->num_accepted();
  server_->Shutdown(std::chrono::steady_clock::now());
  Stop();
  size_t finished = 0;
  for (const std::string& line : LogLines()) finished += line.find("reason=") != std::string::npos;
  EXPECT_EQ(finished, accepted) << "seed " << kSeed;
}

}  // namespace
}  // namespace recurve
