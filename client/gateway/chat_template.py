# SPDX-License-Identifier: Apache-2.0
"""Renders chat templates for recurve-gateway, as transformers' apply_chat_template does.

Reads one JSON object a line from standard input and writes one a line to standard output: {"text": ...}, or {"error": ...}
with "fault": "messages" where other messages could do, "template" where none could, and with "log" in place of an error
that may repeat the messages. The first line, {"ready": true} or an error, says whether it can work at all. Templates are a
stranger's: they run in Jinja's sandbox, and the process has little memory, and for each request little time, after which the
kernel ends it.
"""

import datetime
import functools
import json
import resource
import sys

MEMORY_BYTES = 512 << 20


def answer(message: dict) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


try:
    import jinja2
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError as error:
    answer({"error": f"chat templates need Python's package jinja2 (Debian: python3-jinja2): {error}"})
    sys.exit(1)


class GenerationBlocks(jinja2.ext.Extension):
    """{% generation %} ... {% endgeneration %} marks what the assistant says; here it is only its text."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller) -> str:
        return caller()


class Refusal(jinja2.exceptions.TemplateError):
    """The template itself says that the messages are not what it is for."""


def raise_exception(message):
    raise Refusal(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    """As JSON, without the escapes for HTML that Jinja's own filter makes."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def strftime_now(form):
    return datetime.datetime.now().strftime(form)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, jinja2.ext.loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = strftime_now


@functools.lru_cache(maxsize=16)
def compiled(text: str):
    return environment.from_string(text)


def without_nulls(messages: list) -> list:
    """A member that is null counts as left out: templates ask whether it is there."""
    return [{name: value for name, value in message.items() if value is not None} for message in messages]


def render(request: dict) -> dict:
    try:
        template = compiled(request["template"])
    except Exception as error:  # of whatever kind, for it is a stranger's
        return {"error": f"the model's chat template is not valid: {error}", "fault": "template"}
    pieces, size = [], 0
    try:
        variables = dict(request["variables"], messages=without_nulls(request["messages"]))
        for piece in template.generate(**variables):
            pieces.append(piece)
            size += len(piece)
            if size > request["max_characters"]:
                return {"error": f"the prompt has more than {request['max_characters']} characters",
                        "fault": "messages"}
    except Refusal as error:
        what = "the model's chat template refuses the messages"
        return {"error": f"{what}: {error}", "log": what, "fault": "messages"}
    except MemoryError:
        return {"error": "the model's chat template took too much memory", "fault": "template"}
    except Exception as error:
        what = f"the model's chat template cannot render the messages: {type(error).__name__}"
        return {"error": f"{what}: {error}", "log": what, "fault": "messages"}
    return {"text": "".join(pieces)}


def allow_seconds(seconds: int) -> None:
    """Of processor time from now on."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(usage.ru_utime + usage.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer({"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        allow_seconds(request["seconds"])
        answer(render(request))


if __name__ == "__main__":
    main()
