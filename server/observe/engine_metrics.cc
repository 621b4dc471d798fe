// SPDX-License-Identifier: Apache-2.0
#include "server/observe/engine_metrics.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "server/version.h"

namespace recurve {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// Collects metrics family by family.
class Page {
 public:
  void Family(const std::string& name, const std::string& help, MetricType type) {
    families_.push_back({name, help, type, {}});
  }
  void Add(Labels labels, double value) {
    MetricFamily& family = families_.back();
    ClientMetric metric;
    metric.label = std::move(labels);
    (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family.metric.push_back(std::move(metric));
  }
  void AddHistogram(Labels labels, const StepTotals::Histogram& from) {
    ClientMetric metric;
    metric.label = std::move(labels);
    uint64_t cumulative = 0;
    for (size_t i = 0; i < from.counts.size(); ++i) {
      cumulative += from.counts[i];
      const double bound =
          i < from.bounds.size() ? from.bounds[i] : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({cumulative, bound});
    }
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = from.sum;
    families_.back().metric.push_back(std::move(metric));
  }
  void Gauge(const std::string& name, const std::string& help, double value, Labels labels = {}) {
    Family(name, help, MetricType::Gauge);
    Add(std::move(labels), value);
  }
  void Counter(const std::string& name, const std::string& help, double value) {
    Family(name, help, MetricType::Counter);
    Add({}, value);
  }
  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
};

double SecondsOf(Milliseconds time) { return std::chrono::duration<double>(time).count(); }

double SecondsOrNever(const std::optional<Milliseconds>& time) {
  return time ? SecondsOf(*time) : std::numeric_limits<double>::infinity();
}

void AddIdentity(const EngineInfo& info, const ServerOptions& options, Page* page) {
  page->Gauge("recurve_build_info", "1; what is served, by what", 1,
              {{"version", kVersion},
               {"model", info.model_name},
               {"backend", info.backend},
               {"isa", info.isa},
               {"precision", info.precision},
               {"kv_precision", info.kv_precision}});
  page->Gauge("recurve_cache_config_info", "1; the cache's pages", 1,
              {{"num_pages", std::to_string(info.kv_pages)},
               {"page_bytes", std::to_string(info.kv_page_bytes)},
               {"page_entries", std::to_string(info.kv_page_entries)}});
  const ScheduleLimits& schedule = info.options.schedule;
  page->Family("recurve_limit", "Limits in force, by the flag that sets them", MetricType::Gauge);
  const std::pair<const char*, double> limits[] = {
      {"slots", schedule.slots},
      {"areas", schedule.areas},
      {"chunk", schedule.chunk},
      {"ends", schedule.ends},
      {"block_rows", schedule.block_rows},
      {"prompt_rows", schedule.prompt_rows},
      {"queue_depth", schedule.queue_depth.value_or(0)},
      {"max_queued_requests", schedule.max_queued_requests},
      {"max_queued_tokens", static_cast<double>(schedule.max_queued_tokens)},
      {"max_queued_bytes", static_cast<double>(options.admission.max_queued_bytes)},
      {"step_timeout", SecondsOf(schedule.step_timeout)},
      {"max_context", info.max_context},
      {"default_max_tokens", schedule.default_max_tokens},
      {"max_preemptions", schedule.max_preemptions},
      {"admission_headroom", schedule.headroom},
      {"kv_pages", info.kv_pages},
      {"stream_buffer_tokens", options.stream.buffer_tokens},
      {"stream_stall_timeout", SecondsOf(options.stream.stall_timeout)},
      {"max_message_bytes", options.listen.max_message_bytes},
      {"max_metrics_connections", options.listen.max_metrics_connections},
      {"metrics_stall_timeout", SecondsOf(options.listen.metrics_stall_timeout)},
      {"max_connections", options.listen.max_connections},
      {"max_health_connections", options.listen.health_listen ? kMaxHealthConnections : 0},
      {"max_streams_per_connection", options.connection.max_streams},
      {"max_connection_age", SecondsOrNever(options.connection.max_age)},
      {"max_connection_age_grace", SecondsOrNever(options.connection.max_age_grace)},
      {"handshake_timeout", SecondsOf(options.connection.handshake_timeout)},
      {"keepalive_time", SecondsOf(options.connection.keepalive_time)},
      {"keepalive_timeout", SecondsOf(options.connection.keepalive_timeout)},
      {"min_ping_interval", SecondsOf(options.connection.min_ping_interval)},
      {"credentials_reload_interval", SecondsOf(options.access.reload_interval)},
      {"max_metadata_bytes", kMaxMetadataBytes},
      {"max_tenants_tracked", kMostTenantsTracked},
      {"max_stop_strings", kMaxStopStrings},
      {"max_stop_string_bytes", kMaxStopStringBytes},
      {"max_stop_token_ids", kMaxStopTokenIds},
      {"max_logit_biases", kMaxLogitBiases},
      {"max_samples", kMaxSamples},
      {"max_prompt_bytes", info.max_prompt_bytes ? static_cast<double>(*info.max_prompt_bytes)
                                                 : std::numeric_limits<double>::infinity()},
      {"self_check_timeout", SecondsOf(options.self_check.timeout)}};
  for (const auto& [name, value] : limits) page->Add({{"limit", name}}, value);
}

void AddGauges(const EngineInfo& info, const EngineSnapshot& now, Page* page) {
  page->Gauge("recurve_requests_running", "Requests that hold a slot", now.schedule.running);
  page->Gauge("recurve_requests_waiting", "Requests that wait for a slot", now.schedule.waiting);
  page->Gauge("recurve_waiting_tokens", "Prompt tokens of waiting requests",
              static_cast<double>(now.schedule.waiting_tokens));
  page->Gauge("recurve_draining", "1 while new requests are refused for shutdown", now.draining);
  page->Gauge("recurve_engine_failed", "1 once a step has failed or not come back in time",
              now.failed);
  page->Gauge("recurve_engine_step_age_seconds", "Age of the oldest unfinished step; 0 when idle",
              std::chrono::duration<double>(now.step_age).count());
  page->Gauge("recurve_kv_pages_free", "Free pages of the cache", now.schedule.pages_free);
  page->Gauge("recurve_kv_pages_cached", "Pages of cached prefixes that no request uses",
              now.schedule.pages_cached);
  page->Gauge("recurve_kv_cache_usage_ratio", "Share of the cache's pages in use, 0 to 1",
              now.schedule.PageUse(info.kv_pages));
  page->Gauge("recurve_kv_sharing_ratio", "Pages that requests use over those that there are",
              now.schedule.Sharing());
  page->Gauge("recurve_kv_fragmentation_ratio", "Share of requests' pages without entries, 0 to 1",
              now.schedule.Fragmentation());
  page->Family("recurve_kv_pages", "Pages in use by cache group", MetricType::Gauge);
  for (const auto& group : now.schedule.groups) page->Add({{"group", group.name}}, group.reserved);
  page->Family("recurve_kv_bytes", "Bytes of these", MetricType::Gauge);
  for (const auto& group : now.schedule.groups) {
    page->Add({{"group", group.name}}, static_cast<double>(group.reserved) * info.kv_page_bytes);
  }
  page->Family("recurve_kv_entries", "Cached tokens by cache group", MetricType::Gauge);
  for (const auto& group : now.schedule.groups) {
    page->Add({{"group", group.name}}, static_cast<double>(group.entries));
  }
}

void AddDepths(const EngineSnapshot& now, Page* page) {
  const std::pair<const char*, const DepthCounts*> kinds[] = {
      {"prompt", &now.schedule.prompt_depth}, {"generated", &now.schedule.generated_depth}};
  page->Family("recurve_recursion_tokens_total", "Tokens by the recursions they ran",
               MetricType::Counter);
  for (const auto& [kind, depths] : kinds) {
    for (size_t i = 0; i < depths->by_depth.size(); ++i) {
      page->Add({{"kind", kind}, {"depth", std::to_string(i + 1)}},
                static_cast<double>(depths->by_depth[i]));
    }
  }
  page->Family("recurve_early_exits_total", "Tokens that ran fewer recursions than the model has",
               MetricType::Counter);
  for (const auto& [kind, depths] : kinds) {
    uint64_t early = 0;
    for (size_t i = 0; i + 1 < depths->by_depth.size(); ++i) early += depths->by_depth[i];
    page->Add({{"kind", kind}}, static_cast<double>(early));
  }
  page->Family("recurve_mean_depth", "Block rows over entry rows since start", MetricType::Gauge);
  for (const auto& [kind, depths] : kinds) page->Add({{"kind", kind}}, depths->Mean());
}

void AddAdaptiveDepth(const EngineSnapshot& now, Page* page) {
  page->Gauge("recurve_depth_cap", "Most recursions of new tokens that allow adaptive depth",
              now.schedule.depth_cap);
  page->Counter("recurve_depth_lowered_tokens_total", "Tokens that ran under a lowered cap",
                static_cast<double>(now.schedule.lowered_tokens));
  page->Counter("recurve_depth_given_up_recursions_total",
                "Recursions that lowered caps kept tokens from, at most",
                static_cast<double>(now.schedule.recursions_given_up));
}

void AddPreemptions(const EngineSnapshot& now, Page* page) {
  page->Family("recurve_preemptions_total", "Times that a sequence was put back, by what for",
               MetricType::Counter);
  page->Add({{"reason", "memory"}}, static_cast<double>(now.schedule.preemptions_for_memory));
  page->Add({{"reason", "priority"}}, static_cast<double>(now.schedule.preemptions_for_priority));
  page->Counter("recurve_recomputed_tokens_total", "Tokens computed again after that",
                static_cast<double>(now.schedule.recomputed_tokens));
  page->Counter("recurve_recompute_seconds_total", "Time of these, of requests that have ended",
                std::chrono::duration<double>(now.schedule.recompute_time).count());
}

void AddEvictions(const EngineSnapshot& now, Page* page) {
  page->Family("recurve_kv_evicted_entries_total", "Entries dropped for a budget, by cache group",
               MetricType::Counter);
  for (const auto& group : now.schedule.groups) {
    const std::pair<const char*, uint64_t> policies[] = {{"window", group.evicted.window},
                                                         {"attention", group.evicted.attention},
                                                         {"router", group.evicted.router}};
    for (const auto& [policy, entries] : policies) {
      page->Add({{"group", group.name}, {"policy", policy}}, static_cast<double>(entries));
    }
  }
}

void AddSteps(const EngineSnapshot& now, Page* page) {
  page->Gauge("recurve_ends_min_rows", "Rows that wait until first and last layers run",
              now.schedule.ends_min);
  page->Gauge("recurve_prompt_rows", "Most prompt rows of a step", now.schedule.prompt_rows);
  page->Counter("recurve_steps_total", "Steps of the engine", static_cast<double>(now.steps.count));
  page->Family("recurve_step_rows_total", "Rows that steps ran, by stage", MetricType::Counter);
  for (int part = 0; part < StepTotals::kParts; ++part) {
    page->Add({{"stage", std::string(StepPartName(part))}},
              static_cast<double>(now.steps.part_rows[part]));
  }
  page->Family("recurve_batch_tokens", "Tokens that a step took through the shared block",
               MetricType::Histogram);
  page->AddHistogram({}, now.steps.batch_tokens);
  page->Family("recurve_batch_sequences", "Sequences of which a step ran any token",
               MetricType::Histogram);
  page->AddHistogram({}, now.steps.batch_sequences);
  page->Family("recurve_step_duration_seconds", "Time of a step", MetricType::Histogram);
  page->AddHistogram({}, now.steps.seconds);
  page->Family("recurve_stage_duration_seconds", "Time of a stage, in steps that ran it",
               MetricType::Histogram);
  for (int part = 0; part < StepTotals::kParts; ++part) {
    page->AddHistogram({{"stage", std::string(StepPartName(part))}},
                       now.steps.part_step_seconds[part]);
  }
}

class EngineMetrics : public prometheus::Collectable {
 public:
  EngineMetrics(const std::atomic<Engine*>* engine, const ServerOptions* options)
      : engine_(engine), options_(options) {}

  std::vector<MetricFamily> Collect() const override {
    const Engine* engine = engine_->load(std::memory_order_acquire);
    if (engine == nullptr) return {};
    const EngineInfo& info = engine->Info();
    const EngineSnapshot now = engine->Snapshot();
    Page page;
    AddIdentity(info, *options_, &page);
    AddGauges(info, now, &page);
    page.Counter("recurve_tokenized_bytes_total", "Bytes of texts that were turned into token ids",
                 static_cast<double>(now.encoded_bytes));
    page.Counter("recurve_prompt_tokens_total", "Prompt tokens of admitted requests",
                 static_cast<double>(now.prompt_tokens));
    page.Counter("recurve_generation_tokens_total", "Tokens generated",
                 static_cast<double>(now.schedule.generated_tokens));
    page.Counter("recurve_prefix_cache_queries_total", "Prompt tokens looked up as a prefix",
                 static_cast<double>(now.schedule.prefix_tokens_wanted));
    page.Counter("recurve_prefix_cache_hits_total", "Prompt tokens found in the prefix cache",
                 static_cast<double>(now.schedule.prefix_tokens_found));
    page.Counter("recurve_full_plans_total", "Plans without space for all that was to be told",
                 static_cast<double>(now.schedule.full_plans));
    AddPreemptions(now, &page);
    AddEvictions(now, &page);
    AddDepths(now, &page);
    AddAdaptiveDepth(now, &page);
    AddSteps(now, &page);
    return page.Take();
  }

 private:
  const std::atomic<Engine*>* const engine_;
  const ServerOptions* const options_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> MakeEngineMetrics(const std::atomic<Engine*>* engine,
                                                           const ServerOptions* options) {
  return std::make_shared<EngineMetrics>(engine, options);
}

}  // namespace recurve
