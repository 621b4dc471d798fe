// SPDX-License-Identifier: Apache-2.0
// What each figure of the load tester is.
#ifndef RECURVE_CLIENT_LOAD_DEFINITIONS_H_
#define RECURVE_CLIENT_LOAD_DEFINITIONS_H_

#include <array>
#include <string>

namespace recurve::client {

struct Definition {
  const char* name;  // in text
  const char* key;   // in JSON
  const char* text;
};

inline constexpr std::array kDefinitions = {
    Definition{"Intended start", "intended_start",
               "In an open loop the time that the schedule says, however late the request was "
               "sent; in a closed loop the sending."},
    Definition{"TTFT", "time_to_first_token_seconds",
               "From a request's intended start to its first message with tokens."},
    Definition{"ITL", "inter_token_latency_seconds",
               "For each token after the first message: the time since the message before over "
               "the tokens of its own message (a message has several tokens when the reader is "
               "slower than the engine)."},
    Definition{"TPOT", "time_per_output_token_seconds",
               "A request's time from its first to its last message with tokens over the tokens "
               "after the first message; none if all came in one."},
    Definition{"E2E", "end_to_end_seconds", "From a request's intended start to the stream's end."},
    Definition{"Queue", "client_queue_seconds",
               "From a request's intended start to its sending: what it waits in the client, for "
               "--max_in_flight or for the sending of others. Part of TTFT and E2E."},
    Definition{"Window", "seconds",
               "The measured part of the load: from the intended start of its first request to the "
               "end of its last one, or as long as --duration, or to the interruption."},
    Definition{"Requests/s", "requests_per_second",
               "Completed requests (ended with OK, and not by the server's shutdown) that ended in "
               "the window, over it; those of the warm-up that reach into it included."},
    Definition{"Tokens/s", "generated_tokens_per_second",
               "Tokens of completed requests that came in the window, over it. Tokens, not "
               "messages: a message may bring several."},
    Definition{"Prompt tokens/s", "prompt_tokens_per_second",
               "Prompt tokens of the requests of Requests/s, over the window, cached ones "
               "included."},
    Definition{"Peaks", "peak_tokens_per_second",
               "The most requests on their way at once in the window, and the most tokens, of all "
               "requests, of one of its seconds."},
    Definition{"Pushback", "pushbacks",
               "Refusals that said after what time to come again, which --attempts above 1 waits "
               "for; of recurve.v1 without those that a further try made good (see tries)."},
    Definition{"Client", "client_processors",
               "Processor time of this program over the load's time, and over the tokens that "
               "came: what the measurement itself took."},
    Definition{
        "SLO", "slo",
        "A measured request is good if it was completed and keeps every limit of --slo: "
        "TTFT, TPOT and E2E as above, and for ITL the 99th percentile of its own. The SLO is "
        "met if --slo_share of them are good."},
    Definition{"Goodput", "goodput_requests_per_second",
               "Good requests that ended in the window, over it."},
    Definition{"Cached", "cached_prompt_share",
               "Share of the prompt tokens of measured, completed requests that the server found "
               "in its prefix cache and did not compute."},
    Definition{"Mean depth", "mean_depth",
               "Recursions a row of generated tokens, as the server tells at a request's end; a "
               "request weighs as many rows as it has tokens less one, since the last one never "
               "becomes a row."},
    Definition{
        "Server", "server",
        "The server's own counts and latencies from the load's beginning to its end, warm-up "
        "and other clients included, from arrival at the server; percentiles are estimated "
        "from histograms. Of one server, not of several."},
    Definition{"Knee", "knee",
               "Of a sweep the point of the highest power: tokens/s over the mean E2E. Beyond it "
               "more load costs more in latency than it brings in throughput."},
    Definition{"Percentiles", "percentiles",
               "Of the nearest rank. All figures but rates and those by status are of measured, "
               "completed requests, so without the warm-up."},
};

// A line each.
std::string DefinitionsText();

}  // namespace recurve::client

#endif  // RECURVE_CLIENT_LOAD_DEFINITIONS_H_
