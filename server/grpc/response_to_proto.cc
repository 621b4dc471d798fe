// SPDX-License-Identifier: Apache-2.0
#include "server/grpc/response_to_proto.h"

#include <algorithm>

#include "recurve/v1/generation.pb.h"
#include "server/version.h"

namespace recurve {
namespace {

void FillLogprobs(const PositionLogprobs& from, const Engine& engine, v1::PositionLogprobs* proto) {
  proto->set_logprob(from.logprob);
  for (const LogprobEntry& entry : from.top) {
    v1::TokenLogprob* top = proto->add_top();
    top->set_id(entry.id);
    top->set_logprob(entry.logprob);
    top->set_text(engine.TokenText(entry.id));
  }
}

v1::FinishReason ReasonToProto(EndReason reason) {
  switch (reason) {
    case EndReason::kEndOfSequence:
      return v1::FINISH_REASON_END_OF_SEQUENCE;
    case EndReason::kStopString:
      return v1::FINISH_REASON_STOP_STRING;
    case EndReason::kStopToken:
      return v1::FINISH_REASON_STOP_TOKEN;
    case EndReason::kLength:
      return v1::FINISH_REASON_LENGTH;
    case EndReason::kContextLimit:
      return v1::FINISH_REASON_CONTEXT_LIMIT;
    case EndReason::kTimeLimit:
      return v1::FINISH_REASON_TIME_LIMIT;
    case EndReason::kDrained:
      return v1::FINISH_REASON_DRAINED;
    default:  // the others are told as a status
      return v1::FINISH_REASON_UNSPECIFIED;
  }
}

uint64_t Microseconds(std::optional<SteadyTime> from, std::optional<SteadyTime> to) {
  if (!from || !to || *to < *from) return 0;  // a phase that was never reached
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(*to - *from).count());
}

void FillDepth(const DepthCounts& depth, v1::DepthStats* proto) {
  proto->set_mean_depth(depth.Mean());
  proto->mutable_tokens_by_depth()->Assign(depth.by_depth.begin(), depth.by_depth.end());
}

void FillFinal(const Finish& finish, const Echo& echo, const EngineInfo& info,
               v1::FinalInfo* proto) {
  proto->set_finish_reason(ReasonToProto(finish.reason));
  if (finish.stop_string) proto->set_stop_string(*finish.stop_string);
  if (finish.stop_token_id) proto->set_stop_token_id(*finish.stop_token_id);
  proto->set_seed(echo.seed);
  v1::Timings* timings = proto->mutable_timings();
  timings->set_queue_us(Microseconds(echo.arrival, finish.left_queue()));
  timings->set_prefill_us(Microseconds(finish.admitted, finish.first_token));
  timings->set_decode_us(Microseconds(finish.first_token, finish.last_token));
  timings->set_total_us(Microseconds(echo.arrival, finish.ended));
  FillDepth(finish.prompt_depth, proto->mutable_prompt_depth());
  FillDepth(finish.generated_depth, proto->mutable_generated_depth());
  proto->set_cached_tokens(finish.cached_tokens);
  if (finish.lowered_tokens > 0) {
    proto->mutable_lowered_depth()->set_tokens(finish.lowered_tokens);
    proto->mutable_lowered_depth()->set_lowest_cap(finish.lowest_cap);
  }
  proto->set_preemptions(finish.preemptions);
  const uint32_t tokens = finish.prompt_tokens + finish.generated_tokens;
  proto->set_beyond_context(tokens - std::min(tokens, info.max_context));
  proto->set_recomputed_tokens(finish.recomputed_tokens);
  proto->set_recompute_us(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(finish.recompute_time).count()));
  proto->mutable_prompt_token_depths()->Assign(finish.prompt_token_depths.begin(),
                                               finish.prompt_token_depths.end());
}

// CompleteResponse has the fields of GenerateResponse.
template <typename Proto>
void Fill(const Delta& delta, const Echo& echo, const Engine& engine, Proto* proto) {
  proto->set_sample(delta.sample);
  proto->set_text(delta.text);
  for (const DeltaToken& from : delta.tokens) {
    v1::Token* token = proto->add_tokens();
    token->set_id(from.id);
    token->set_depth(from.depth);
    token->set_text_bytes(from.text_bytes);
    if (from.logprobs) FillLogprobs(*from.logprobs, engine, token->mutable_logprobs());
  }
  if (delta.prompt_logprobs) {
    for (const PositionLogprobs& position : *delta.prompt_logprobs) {
      FillLogprobs(position, engine, proto->add_prompt_logprobs());
    }
  }
  proto->mutable_usage()->set_prompt_tokens(delta.prompt_tokens);
  proto->mutable_usage()->set_generated_tokens(delta.generated_tokens);
  if (delta.finish) FillFinal(*delta.finish, echo, engine.Info(), proto->mutable_final());
}

void FillCounts(const std::vector<uint64_t>& from,
                google::protobuf::RepeatedField<uint64_t>* proto) {
  proto->Assign(from.begin(), from.end());
}

void FillHistogram(const StepTotals::Histogram& histogram, v1::Histogram* proto) {
  proto->mutable_bounds()->Assign(histogram.bounds.begin(), histogram.bounds.end());
  FillCounts(histogram.counts, proto->mutable_counts());
  proto->set_sum(histogram.sum);
}

}  // namespace

void FillResponse(const Delta& delta, const Echo& echo, const Engine& engine,
                  v1::GenerateResponse* proto) {
  Fill(delta, echo, engine, proto);
}

void FillResponse(const Delta& delta, const Echo& echo, const Engine& engine,
                  v1::CompleteResponse* proto) {
  Fill(delta, echo, engine, proto);
  if (delta.finish && delta.finish->cumulative_logprob) {
    proto->set_cumulative_logprob(*delta.finish->cumulative_logprob);
  }
}

void FillModelInfo(const EngineInfo& info, const ListenOptions& listen,
                   v1::GetModelInfoResponse* proto) {
  proto->set_model_name(info.model_name);
  proto->set_server_version(kVersion);
  proto->set_backend(info.backend);
  proto->set_precision(info.precision);
  proto->set_kv_precision(info.kv_precision);
  proto->set_vocab_size(info.vocab_size);
  proto->set_max_context(info.max_context);
  proto->set_num_recursions(info.recursions);
  proto->set_sharing(info.sharing);
  proto->set_router(info.router);
  proto->set_kv_mode(info.kv_mode);
  proto->set_router_threshold(info.router_threshold);
  proto->mutable_eos_token_ids()->Assign(info.eos_token_ids.begin(), info.eos_token_ids.end());
  proto->set_parameters(info.parameters);
  proto->set_has_tokenizer(info.has_tokenizer);
  proto->set_fingerprint(info.fingerprint);
  for (const ChatTemplate& chat : info.chat.templates) {
    v1::ChatTemplate* one = proto->add_chat_templates();
    one->set_name(chat.name);
    one->set_text(chat.text);
  }
  for (const auto& [name, text] : info.chat.special_tokens) {
    (*proto->mutable_special_tokens())[name] = text;
  }
  v1::Limits* limits = proto->mutable_limits();
  limits->set_default_max_tokens(info.options.schedule.default_max_tokens);
  limits->set_max_stop_strings(kMaxStopStrings);
  limits->set_max_stop_string_bytes(kMaxStopStringBytes);
  limits->set_max_stop_token_ids(kMaxStopTokenIds);
  limits->set_max_logit_biases(kMaxLogitBiases);
  limits->set_max_top_logprobs(kMaxTopLogprobs);
  limits->set_max_samples(kMaxSamples);
  limits->set_max_message_bytes(listen.max_message_bytes);
  limits->set_max_queued_requests(info.options.schedule.max_queued_requests);
  limits->set_max_queued_tokens(info.options.schedule.max_queued_tokens);
}

void FillLoad(const EngineInfo& info, const EngineSnapshot& snapshot,
              const Metrics::Latencies& latencies, std::chrono::duration<double> uptime,
              v1::GetLoadResponse* proto) {
  proto->set_requests_running(snapshot.schedule.running);
  proto->set_requests_waiting(snapshot.schedule.waiting);
  proto->set_waiting_tokens(snapshot.schedule.waiting_tokens);
  proto->set_slots(info.options.schedule.slots);
  proto->set_kv_pages(info.kv_pages);
  proto->set_kv_pages_free(snapshot.schedule.pages_free);
  proto->set_kv_pages_cached(snapshot.schedule.pages_cached);
  proto->set_draining(snapshot.draining);
  proto->set_prompt_tokens(snapshot.prompt_tokens);
  proto->set_generated_tokens(snapshot.schedule.generated_tokens);
  FillCounts(snapshot.schedule.generated_depth.by_depth,
             proto->mutable_generated_tokens_by_depth());
  FillCounts(snapshot.schedule.prompt_depth.rows_by_depth, proto->mutable_prompt_rows_by_depth());
  FillCounts(snapshot.schedule.generated_depth.rows_by_depth,
             proto->mutable_generated_rows_by_depth());
  proto->set_uptime_seconds(uptime.count());
  for (const ScheduleCounters::Group& group : snapshot.schedule.groups) {
    v1::GroupLoad* load = proto->add_groups();
    load->set_name(group.name);
    load->set_entries(group.entries);
    load->set_pages(group.reserved);
    load->set_evicted_entries(group.evicted_by_all());
  }
  proto->set_steps(snapshot.steps.count);
  for (int part = 0; part < StepTotals::kParts; ++part) {
    v1::StageLoad* stage = proto->add_stages();
    stage->set_name(std::string(StepPartName(part)));
    stage->set_rows(snapshot.steps.part_rows[part]);
  }
  proto->set_prefix_tokens_wanted(snapshot.schedule.prefix_tokens_wanted);
  proto->set_prefix_tokens_found(snapshot.schedule.prefix_tokens_found);
  proto->set_preemptions_for_memory(snapshot.schedule.preemptions_for_memory);
  proto->set_preemptions_for_priority(snapshot.schedule.preemptions_for_priority);
  FillHistogram(latencies.first_token, proto->mutable_time_to_first_token());
  FillHistogram(latencies.inter_token, proto->mutable_inter_token_latency());
  FillHistogram(latencies.queue, proto->mutable_queue_time());
}

}  // namespace recurve
