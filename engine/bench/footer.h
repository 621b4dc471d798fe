// SPDX-License-Identifier: Apache-2.0
#ifndef RECURVE_ENGINE_BENCH_FOOTER_H_
#define RECURVE_ENGINE_BENCH_FOOTER_H_

namespace recurve {

// What recurve-bench --help says behind its flags: of every figure, what it is.
inline constexpr char kFooter[] =
    "tokens_per_second counts tokens generated after every stream had its first one, over that\n"
    "time; steady_tokens_per_second the same until the first stream ended, since with streams of\n"
    "one length few run at the end, and is 0 if that was before all had begun; "
    "prompt_tokens_per_second all prompts, over the time to the last stream's first token.\n"
    "mean_depth is block rows over entry rows. first_token_seconds is a stream's wait for its\n"
    "first token, all having come at once; cached_prompt_share what the prefix cache had.\n"
    "step_seconds is a run's time over its steps; stage_seconds_* are what a step spends in each\n"
    "stage, the mean over all steps, so their sum is less than step_seconds by what planning\n"
    "takes. attention_seconds_* are what attention takes of a stage on the CPU, with the rotation\n"
    "and storing of what it reads; products and norms take the rest, and other backends do not\n"
    "tell it apart: 0. kv_bytes_peak counts pages that hold entries. flop_ratio is the FLOPs per "
    "token of "
    "the\n"
    "vanilla model of the same effective depth over this run's, LM head included. bytes_per_token\n"
    "are weights and entries that a token reads if it is alone in its steps. idle_share is the\n"
    "part of a step that no stage took: planning, and a device that waits. A backend that is made\n"
    "of kernels has a line for each, of all its launches in one step: how many, and bytes and\n"
    "FLOPs as counted from sizes and the run's mean rows; routers and planner as if every token\n"
    "took all recursions, evictions and copies of pages as the mean of all steps, other changes\n"
    "of plans not at all.\n"
    "--format=json prints one flat object a run and last, with \"run\":\"median\", the medians.\n"
    "--size runs nothing: kv_pages are those of all streams with a full context if every token "
    "takes\n"
    "every recursion, as admission counts, expected_kv_bytes those of the --depths; memory_bytes\n"
    "weights and all pages, beside which a server needs a tenth for rows, tables and itself.\n"
    "step_seconds is the larger of bytes over --bandwidth and FLOPs over --tflops at the full\n"
    "context, tokens_per_second all streams' under it: bounds, of which a machine reaches a part.\n"
    "--kernels runs no model: each line is a product of its weights, random ones, with so many\n"
    "rows, the median of --repeat rounds. Weights come from memory: one matrix after the other, "
    "more\n"
    "than caches hold. The bound is the larger of the weights' bytes over what the machine reads "
    "and\n"
    "FLOPs over what it computes at most, both measured in each round with the same threads. Runs\n"
    "of the cpu backend print the same two rates, and as bound_share their tokens_per_second over\n"
    "those of --size with them, at the middle of generating; ideal_ratio is how many times the\n"
    "tokens of the vanilla model with --block_rows streams any schedule could make at these "
    "rates:\n"
    "the ratio of two such runs over it is what the engine realises of MoR.\n"
    "--attention runs no model: nanoseconds that one thread needs for each row, cached entry and "
    "KV\n"
    "head, all its query heads included, the median of --repeat rounds: with one row, as when "
    "tokens\n"
    "are generated, and with as many as attend together when a prompt enters.\n"
    "Examples:\n"
    "  recurve-bench --kernels --shape=135m --isa=avx2\n"
    "  recurve-bench --attention --shape=135m --kv_precision=int8\n"
    "  recurve-bench --size --shape=360m --streams=32 --bandwidth=3350 --tflops=990\n"
    "  recurve-bench --shape=135m --recursions=3 --streams=32\n"
    "  recurve-bench --model=models/demo --streams=8 --format=json";

}  // namespace recurve

#endif  // RECURVE_ENGINE_BENCH_FOOTER_H_
