# SPDX-License-Identifier: Apache-2.0
"""Calls a server by NVIDIA's tritonclient and prints what it got as JSON; run by stock_clients_test in build/venv_strangers.

ADDRESS MODEL PROMPT
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton

SECONDS = 60


def inputs(prompt: str, stream: bool, parameters: dict) -> list:
    def tensor(name: str, kind: str, values: np.ndarray) -> triton.InferInput:
        made = triton.InferInput(name, [1], kind)
        made.set_data_from_numpy(values)
        return made
    return [
        tensor("text_input", "BYTES", np.array([prompt.encode()], dtype=np.object_)),
        tensor("stream", "BOOL", np.array([stream])),
        tensor("exclude_input_in_output", "BOOL", np.array([True])),
        tensor("sampling_parameters", "BYTES",
               np.array([json.dumps(parameters).encode()], dtype=np.object_)),
        tensor("return_num_output_tokens", "BOOL", np.array([True])),
    ]


def streamed(client: triton.InferenceServerClient, model: str, requests: dict) -> dict:
    """The text of each request by its id, all of them over one stream; an error as `error: ...`."""
    results: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: results.put((result, error)))
    for request_id, request in requests.items():
        client.async_stream_infer(model, request, request_id=request_id,
                                  enable_empty_final_response=True)
    texts = {request_id: "" for request_id in requests}
    ended = 0
    while ended < len(requests):
        result, error = results.get(timeout=SECONDS)
        if error is not None:
            texts["error"] = error.message()
            ended += 1
            continue
        response = result.get_response()
        texts[response.id] += result.as_numpy("text_output")[0].decode()
        ended += response.parameters["triton_final_response"].bool_param
    client.stop_stream()
    return texts


def main() -> None:
    address, model, prompt = sys.argv[1:]
    greedy = {"temperature": 0, "max_tokens": 12}
    client = triton.InferenceServerClient(address)
    whole = client.infer(model, inputs(prompt, False, {**greedy, "n": 2}), client_timeout=SECONDS)
    config = client.get_model_config(model, as_json=True)["config"]
    before = int(client.get_inference_statistics(model, as_json=True)["model_stats"][0]["inference_count"])
    streams = streamed(client, model, {
        "0": inputs(prompt, True, greedy), "1": inputs(prompt, False, greedy),
        "2": inputs(prompt, True, {"temperature": "0", "max_tokens": "12"}),
        "bad": inputs(prompt, True, {"temperature": -5})})
    after = int(client.get_inference_statistics(model, as_json=True)["model_stats"][0]["inference_count"])
    try:
        client.get_model_metadata("another")
        unknown = ""
    except triton.InferenceServerException as error:
        unknown = error.status()
    json.dump({
        "ready": [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)],
        "decoupled": config["model_transaction_policy"]["decoupled"],
        "inputs": [entry["name"] for entry in client.get_model_metadata(model, as_json=True)["inputs"]],
        "texts": [text.decode() for text in whole.as_numpy("text_output")],
        "output_tokens": whole.as_numpy("num_output_tokens").tolist(),
        "streams": streams,
        "counted": after - before,
        "unknown": unknown,
    }, sys.stdout)


if __name__ == "__main__":
    main()
