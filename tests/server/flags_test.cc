// SPDX-License-Identifier: Apache-2.0
#include "server/flags.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace recurve {
namespace {

using testing::HasSubstr;

absl::StatusOr<std::variant<ServerOptions, std::string>> Parse(std::vector<std::string> flags,
                                                               bool with_model = true) {
  if (with_model) flags.insert(flags.begin(), "--model=/models/demo");
  std::vector<const char*> argv = {"recurve-server"};
  for (const std::string& flag : flags) argv.push_back(flag.c_str());
  return ParseFlags(static_cast<int>(argv.size()), argv.data());
}

ServerOptions Options(const std::vector<std::string>& flags) {
  const auto parsed = Parse(flags);
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return parsed.ok() ? std::get<ServerOptions>(*parsed) : ServerOptions();
}

std::string Error(const std::vector<std::string>& flags, bool with_model = true) {
  const auto parsed = Parse(flags, with_model);
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(parsed.status().message());
}

TEST(FlagsTest, DefaultsAreThoseOfTheStructs) {
  const ServerOptions options = Options({});
  const ServerOptions defaults;
  EXPECT_EQ(options.engine.model.directory, "/models/demo");
  EXPECT_EQ(options.engine.model.precision, defaults.engine.model.precision);
  EXPECT_EQ(options.engine.model.kv_precision, defaults.engine.model.kv_precision);
  EXPECT_EQ(options.engine.schedule.slots, defaults.engine.schedule.slots);
  EXPECT_EQ(options.engine.schedule.policy, defaults.engine.schedule.policy);
  EXPECT_EQ(options.engine.memory.kv_pages, defaults.engine.memory.kv_pages);
  EXPECT_EQ(options.listen.listen, defaults.listen.listen);
  EXPECT_EQ(options.stream.stall_timeout, defaults.stream.stall_timeout);
  EXPECT_EQ(options.drain.budget, defaults.drain.budget);
  EXPECT_EQ(options.log.format, LogFormat::kText);
}

TEST(FlagsTest, EveryFlagSetsItsOption) {
  const ServerOptions o = Options({"--model_name=m",
                                   "--backend=cuda",
                                   "--device=2",
                                   "--cuda_eager",
                                   "--cuda_overlap=false",
                                   "--deterministic=false",
                                   "--precision=f32",
                                   "--kv_precision=int8",
                                   "--threads=3",
                                   "--isa=scalar",
                                   "--policy=lockstep",
                                   "--slots=1",
                                   "--areas=2",
                                   "--chunk=3",
                                   "--ends=4",
                                   "--block_rows=5",
                                   "--prompt_rows=6",
                                   "--adaptive_depth",
                                   "--queue_time_goal=2s",
                                   "--queue_depth=1",
                                   "--step_timeout=45s",
                                   "--kv_pages=7",
                                   "--kv_memory_share=0.25",
                                   "--max_context=8",
                                   "--max_queued_requests=9",
                                   "--max_queued_tokens=5000000000",
                                   "--max_queued_bytes=6000000000",
                                   "--default_max_tokens=11",
                                   "--retry_pushback=250ms",
                                   "--listen=[::]:1",
                                   "--metrics_listen=unix:/metrics",
                                   "--max_metrics_connections=14",
                                   "--metrics_stall_timeout=15s",
                                   "--port_file=/p",
                                   "--max_message_bytes=65536",
                                   "--stream_stall_timeout=1m30s",
                                   "--stream_buffer_tokens=13",
                                   "--drain_grace=5s",
                                   "--drain_budget=1m",
                                   "--drain_flush=3s",
                                   "--log_format=json",
                                   "--log_prompts",
                                   "--health_listen=127.0.0.1:3",
                                   "--tls_cert=/cert",
                                   "--tls_key=/key",
                                   "--tls_client_ca=/ca",
                                   "--access_file=/access",
                                   "--credentials_reload_interval=17s",
                                   "--max_streams_per_connection=18",
                                   "--max_connection_age=19m",
                                   "--max_connection_age_grace=20m",
                                   "--handshake_timeout=21s",
                                   "--keepalive_time=22s",
                                   "--keepalive_timeout=23s",
                                   "--min_ping_interval=24s"});
  EXPECT_EQ(o.engine.model.name, "m");
  EXPECT_EQ(o.engine.model.backend, "cuda");
  EXPECT_EQ(o.engine.model.device, 2U);
  EXPECT_TRUE(o.engine.model.cuda_eager);
  EXPECT_FALSE(o.engine.model.cuda_overlap);
  EXPECT_FALSE(o.engine.model.deterministic);
  EXPECT_EQ(o.engine.model.precision, "f32");
  EXPECT_EQ(o.engine.model.kv_precision, "int8");
  EXPECT_EQ(o.engine.model.threads, 3U);
  EXPECT_EQ(o.engine.model.isa, "scalar");
  EXPECT_EQ(o.engine.schedule.policy, "lockstep");
  EXPECT_EQ(o.engine.schedule.slots, 1U);
  EXPECT_EQ(o.engine.schedule.areas, 2U);
  EXPECT_EQ(o.engine.schedule.chunk, 3U);
  EXPECT_EQ(o.engine.schedule.ends, 4U);
  EXPECT_EQ(o.engine.schedule.block_rows, 5U);
  EXPECT_EQ(o.engine.schedule.prompt_rows, 6U);
  EXPECT_TRUE(o.engine.schedule.adaptive_depth);
  EXPECT_EQ(o.engine.schedule.queue_time_goal, Milliseconds(2000));
  EXPECT_EQ(o.engine.schedule.queue_depth, 1U);
  EXPECT_EQ(o.engine.schedule.step_timeout, std::chrono::seconds(45));
  EXPECT_EQ(o.engine.memory.kv_pages, 7U);
  EXPECT_EQ(o.engine.memory.kv_memory_share, 0.25);
  EXPECT_EQ(o.engine.memory.max_context, 8U);
  EXPECT_EQ(o.engine.schedule.max_queued_requests, 9U);
  EXPECT_EQ(o.engine.schedule.max_queued_tokens, 5000000000U);
  EXPECT_EQ(o.engine.schedule.default_max_tokens, 11U);
  EXPECT_EQ(o.admission.max_queued_bytes, 6000000000U);
  EXPECT_EQ(o.admission.retry_pushback, Milliseconds(250));
  EXPECT_EQ(o.listen.listen.ToString(), "[::]:1");
  EXPECT_EQ(o.listen.metrics_listen.ToString(), "unix:/metrics");
  EXPECT_EQ(o.listen.max_metrics_connections, 14U);
  EXPECT_EQ(o.listen.metrics_stall_timeout, Milliseconds(15000));
  EXPECT_EQ(o.listen.port_file, "/p");
  EXPECT_EQ(o.listen.max_message_bytes, 65536U);
  EXPECT_EQ(o.stream.stall_timeout, Milliseconds(90000));
  EXPECT_EQ(o.stream.buffer_tokens, 13U);
  EXPECT_EQ(o.drain.grace, Milliseconds(5000));
  EXPECT_EQ(o.drain.budget, Milliseconds(60000));
  EXPECT_EQ(o.drain.flush, Milliseconds(3000));
  EXPECT_EQ(o.log.format, LogFormat::kJson);
  EXPECT_TRUE(o.log.prompts);
  EXPECT_EQ(o.listen.health_listen->ToString(), "127.0.0.1:3");
  EXPECT_EQ(o.tls, (TlsOptions{"/cert", "/key", "/ca"}));
  EXPECT_EQ(o.access.file, "/access");
  EXPECT_EQ(o.access.reload_interval, Milliseconds(17000));
  EXPECT_EQ(o.connection.max_streams, 18U);
  EXPECT_EQ(o.connection.max_age, std::chrono::minutes(19));
  EXPECT_EQ(o.connection.max_age_grace, std::chrono::minutes(20));
  EXPECT_EQ(o.connection.handshake_timeout, Milliseconds(21000));
  EXPECT_EQ(o.connection.keepalive_time, Milliseconds(22000));
  EXPECT_EQ(o.connection.keepalive_timeout, Milliseconds(23000));
  EXPECT_EQ(o.connection.min_ping_interval, Milliseconds(24000));
  EXPECT_EQ(Options({"--max_connection_age=none"}).connection.max_age, std::nullopt);
  EXPECT_EQ(Options({"--health_listen=none"}).listen.health_listen, std::nullopt);
  EXPECT_EQ(Options({"--threads=auto"}).engine.model.threads, 0U);
  EXPECT_EQ(Options({"--kv_memory_share=auto"}).engine.memory.kv_memory_share, std::nullopt);
  EXPECT_EQ(Options({"--queue_depth=auto"}).engine.schedule.queue_depth, std::nullopt);
  EXPECT_EQ(Options({"--queue_depth=0"}).engine.schedule.queue_depth, 0U);
}

TEST(FlagsTest, ErrorsNameTheFlag) {
  EXPECT_THAT(Error({"--slotz=3"}), HasSubstr("--slotz"));
  EXPECT_THAT(Error({"--modell=/m"}, /*with_model=*/false), HasSubstr("--modell"));
  EXPECT_THAT(Error({"--slots=many"}), HasSubstr("--slots"));
  EXPECT_THAT(Error({"--slots=-1"}), HasSubstr("--slots"));
  EXPECT_THAT(Error({"--slots=5000000000"}), HasSubstr("--slots"));
  EXPECT_THAT(Error({"--threads=0"}), HasSubstr("--threads: '0' is not possible: expected"));
  EXPECT_THAT(Error({"--queue_depth=2"}),
              HasSubstr("--queue_depth: '2' is not possible: expected a whole number from 0 to 1, "
                        "or auto"));
  EXPECT_THAT(Error({"--kv_pages=some"}), HasSubstr("--kv_pages: 'some'"));
  EXPECT_THAT(Error({"--drain_budget=5"}), HasSubstr("--drain_budget: '5'"));
  EXPECT_THAT(Error({"--drain_budget=-5s"}), HasSubstr("--drain_budget: '-5s'"));
  EXPECT_THAT(Error({"--stream_stall_timeout=0"}), HasSubstr("--stream_stall_timeout: '0'"));
  EXPECT_THAT(Error({"--stream_buffer_tokens=0"}), HasSubstr("--stream_buffer_tokens"));
  EXPECT_THAT(Error({"--max_message_bytes=1"}), HasSubstr("--max_message_bytes"));
  EXPECT_THAT(Error({"stray"}), HasSubstr("stray"));
  EXPECT_THAT(Error({}, /*with_model=*/false), HasSubstr("--model"));
  EXPECT_THAT(Error({"--log_format=xml"}), HasSubstr("--log_format: 'xml'"));
  EXPECT_EQ(Error({"--model=", "--threads=1"}, /*with_model=*/false),
            "--model= has no value behind its '='; give one, or leave the flag out");
  EXPECT_EQ(Error({"--model_name", ""}), "--model_name: an empty value is not possible");
  EXPECT_EQ(Error({"--model_name", "--threads=1"}),
            "--model_name: '--threads=1' is not possible: it begins as a flag does; is the value "
            "missing?");
}

TEST(FlagsTest, NumbersAreDecimalDigits) {
  EXPECT_EQ(Options({"--slots=010"}).engine.schedule.slots, 10U);
  EXPECT_EQ(Options({"--max_queued_tokens=18446744073709551615"}).engine.schedule.max_queued_tokens,
            18446744073709551615U);
  for (const char* flag : {"--slots", "--max_queued_tokens", "--max_preemptions", "--threads",
                           "--kv_pages", "--admission_headroom", "--evict_every"}) {
    for (const char* text : {"", " ", " 5", "5 ", "+5", "-5", "-0", "0x10", "0o17", "5.0", "1e1",
                             "5k", "5,6", "[5]", "{}", "'5'", "18446744073709551616", "nan"}) {
      EXPECT_THAT(Error({flag, text}), HasSubstr(flag)) << text;
    }
  }
  EXPECT_EQ(Options({"--kv_memory_share=1e-1"}).engine.memory.kv_memory_share, 0.1);
  for (const char* text : {"", "nan", "inf", "1e999", "0", "-0.5", "+0.5", "0x1p-1", " 0.5", "0.5 ",
                           "1.01", "50%", "0,5"}) {
    EXPECT_THAT(Error({"--kv_memory_share", text}), HasSubstr("--kv_memory_share")) << text;
  }
}

TEST(FlagsTest, DurationsAreWholeMilliseconds) {
  EXPECT_EQ(Options({"--drain_grace=0.25s"}).drain.grace, Milliseconds(250));
  EXPECT_EQ(Options({"--drain_grace=0"}).drain.grace, Milliseconds(0));
  EXPECT_EQ(Options({"--drain_grace=24h"}).drain.grace, Milliseconds(86400000));
  for (const char* text : {"", "5", "5 s", " 5s", "5s ", "+5s", "-0", "nan", "inf", "999us",
                           "1500us", "0.0005s", "24h1ms", "99999999999h", "5S", "1d"}) {
    EXPECT_THAT(Error({"--drain_grace", text}), HasSubstr("--drain_grace")) << text;
  }
}

TEST(FlagsTest, SwitchesAreTrueOrFalse) {
  EXPECT_TRUE(Options({"--cuda_eager"}).engine.model.cuda_eager);
  EXPECT_TRUE(Options({"--cuda_eager=true"}).engine.model.cuda_eager);
  EXPECT_FALSE(Options({"--prefix_cache=false"}).engine.memory.prefix_cache);
  for (const char* text : {"-1", "2", "010", "TRUE", "maybe", "true,false"}) {
    EXPECT_THAT(Error({std::string("--prefix_cache=") + text}),
                HasSubstr("--prefix_cache: '" + std::string(text) + "'"));
  }
}

TEST(FlagsTest, AFlagGivenTwiceIsRefused) {
  EXPECT_EQ(Error({"--slots=1", "--slots=2"}), "--slots is given twice");
  EXPECT_EQ(Error({"--prefix_cache", "--prefix_cache=false"}), "--prefix_cache is given twice");
}

TEST(FlagsTest, AddressesAreRefusedByName) {
  for (const char* flag : {"--listen", "--metrics_listen"}) {
    for (const char* address : {"127.0.0.1:99999", "127.0.0.1", "127.0.0.1:http", "19193", ":1",
                                "[::1]", "::1:1", "unix:relative"}) {
      const std::string error = Error({absl::StrCat(flag, "=", address)});
      EXPECT_THAT(error, HasSubstr(absl::StrCat(flag, ": '", address, "' is not possible: ")));
      EXPECT_THAT(error, HasSubstr("expected HOST:PORT"));
    }
  }
}

TEST(FlagsTest, OneAddressIsNotForTwo) {
  EXPECT_THAT(Error({"--listen=[::1]:5", "--metrics_listen=[::1]:5"}),
              HasSubstr("--metrics_listen: [::1]:5 is the address of --listen too"));
  EXPECT_THAT(Error({"--listen=unix:/a", "--metrics_listen=unix:///a"}),
              HasSubstr("--metrics_listen: unix:/a is the address of --listen too"));
  EXPECT_THAT(Error({"--metrics_listen=unix:/a", "--port_file=/a"}), HasSubstr("--port_file: /a"));
  EXPECT_EQ(Options({"--listen=[::1]:0", "--metrics_listen=[::1]:0"}).listen.metrics_listen.port,
            0);
}

TEST(FlagsTest, WhatLaterVersionsHaveIsRefused) {
  EXPECT_EQ(Error({"--backend=rocm"}),
            "--backend: 'rocm' is not possible: this version has cpu or cuda or null");
  EXPECT_EQ(Error({"--precision=int4"}),
            "--precision: 'int4' is not possible: this version has bf16 or f32 or int8");
  EXPECT_EQ(Error({"--kv_precision=fp8"}),
            "--kv_precision: 'fp8' is not possible: this version has auto or f32 or bf16 or int8");
  EXPECT_EQ(
      Error({"--isa=sse"}),
      "--isa: 'sse' is not possible: this version has auto or scalar or neon or avx2 or avx512 or "
      "amx");
  EXPECT_EQ(Error({"--policy=eager"}),
            "--policy: 'eager' is not possible: this version has staged or depthwise or lockstep");
}

TEST(FlagsTest, HelpIsGroupedAndFitsATerminal) {
  const auto parsed = Parse({"--help"}, /*with_model=*/false);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const std::string& help = std::get<std::string>(*parsed);
  for (const char* group : {"Model:", "Schedule:", "Memory:", "Admission:", "Listening:",
                            "Streams:", "Shutdown", "Log", "General:"}) {
    EXPECT_THAT(help, HasSubstr(group));
  }
  for (const char* part : {"--kv_pages", "[auto]", "--drain_budget", "[30s]", "--slots", "[32]"}) {
    EXPECT_THAT(help, HasSubstr(part));
  }
  size_t start = 0;
  for (size_t end = 0; (end = help.find('\n', start)) != std::string::npos; start = end + 1) {
    EXPECT_LE(end - start, 100U) << help.substr(start, end - start);
  }
  const auto version = Parse({"--version"}, /*with_model=*/false);
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_THAT(std::get<std::string>(*version), testing::StartsWith("recurve-server "));
}

}  // namespace
}  // namespace recurve
