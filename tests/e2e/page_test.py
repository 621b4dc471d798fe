# SPDX-License-Identifier: Apache-2.0
"""The gateway's page in a real browser."""

import contextlib
import hashlib
import json
import pathlib
import tempfile
import threading
import unittest

import grpc
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser import CHROMIUM, DRIVER, Browser
from tests.e2e.gateway import Gateway, chat_model
from tests.e2e.harness import Collected, Server, request

PROMPT = "import os\n"

# Colours as browsers compute them, in numbers: relative luminance, as WCAG has it.
LUMINANCE = """
const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const luminance = (color) => {
  canvas.clearRect(0, 0, 1, 1);
  canvas.fillStyle = color;
  canvas.fillRect(0, 0, 1, 1);
  const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => {
    const one = part / 255;
    return one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const of = (selector, name) => luminance(getComputedStyle(document.querySelector(selector))[name]);
"""


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@unittest.skipUnless(CHROMIUM and DRIVER, "Debian's packages chromium and chromium-driver are not installed")
class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.addClassCleanup(cls.stack.close)
        model = cls.stack.enter_context(chat_model())
        cls.server = Server("--slots=4", "--precision=f32", model=model)
        cls.stack.callback(cls.server.kill)
        cls.gateway = Gateway(cls.server.address)
        cls.stack.callback(cls.gateway.kill)
        cls.browser = Browser()
        cls.stack.callback(cls.browser.close)
        cls.own = Collected(cls.server.stub.Generate(request(PROMPT, max_tokens=12)))

    def open(self, gateway: Gateway | None = None) -> Browser:
        self.origin = f"http://{(gateway or self.gateway).address}/"
        self.browser.open(self.origin)
        return self.browser

    def ready(self, gateway: Gateway | None = None) -> Browser:
        browser = self.open(gateway)
        browser.wait(lambda: browser.find("#send").is_enabled(), "the model did not become known")
        return browser

    def fill(self, prompt: str = PROMPT, **knobs) -> None:
        self.browser.set("#prompt", prompt)
        for name, value in {"max_tokens": 12, "temperature": 0, **knobs}.items():
            self.browser.set(f"#{name}", value)

    def generate(self, **knobs) -> None:
        self.fill(**knobs)
        self.browser.find("#send").click()
        self.finished()

    def finished(self) -> str:
        return self.browser.wait(lambda: (text := self.browser.text("#summary")) != "Running" and text,
                                 "the call did not end")

    def shown(self) -> list:
        return self.browser.run("return [...document.querySelectorAll('#output .token')]"
                                ".map((token) => [token.textContent, Number(token.dataset.depth)])")

    def test_tokens_arrive_with_their_depths(self):
        browser = self.ready()
        self.generate(seed=7)
        tokens = self.shown()
        self.assertEqual("".join(text for text, _ in tokens), self.own.text)
        self.assertEqual([depth for _, depth in tokens], self.own.depths)
        summary = browser.text("#summary")
        self.assertIn("12 tokens", summary)
        self.assertIn("seed 7", summary)
        self.assertIn("ended by the limit", summary)
        self.assertIn(f"mean depth {sum(self.own.depths) / 12:.2f}", browser.text("#mean"))
        legend = [item.text.split("\n")[-1] for item in browser.all("#legend li")]
        self.assertEqual([int(text.split(" · ")[0].split()[-1]) for text in legend],
                         [self.own.depths.count(depth) for depth in (1, 2, 3)])
        widths = browser.run("return [...document.querySelectorAll('#legend .token')]"
                             ".map((token) => getComputedStyle(token).borderBottomWidth)")
        self.assertEqual(widths, ["1px", "2px", "3px"])  # not by colour alone
        ActionChains(browser.driver).move_to_element(browser.all("#output .token")[3]).perform()
        tip = browser.wait(lambda: browser.find("#tip").is_displayed() and browser.text("#tip"), "no tip came")
        self.assertIn(f"depth {self.own.depths[3]} of 3", tip)
        self.assertRegex(tip, r"log probability -?\d+\.\d\d")
        browser.find("#digits").click()
        digit = browser.run("return getComputedStyle(document.querySelector('#output .ink'), '::after').content")
        self.assertEqual(digit, f'"{self.own.depths[0]}"')

    def test_knobs_reach_the_server(self):
        browser = self.ready()
        browser.find("#max_recursions option[value='1']").click()
        self.generate(stop="\\n")
        self.assertEqual({depth for _, depth in self.shown()}, {1})
        self.assertIn("ended by itself", browser.text("#summary"))
        self.assertNotIn("\n", "".join(text for text, _ in self.shown()))
        browser.find("#max_recursions option[value='']").click()
        self.generate(stop="", router_threshold=1)
        self.assertEqual({depth for _, depth in self.shown()}, {1})
        browser.run("document.getElementById('top_p').min = ''")
        self.generate(top_p=-1)
        self.assertIn("top_p is -1", browser.text("#problem"))

    def test_stop_ends_the_call_at_the_server(self):
        browser = self.ready()
        cancelled = lambda: self.server.metric("recurve_requests_total", code="CANCELLED")
        before = cancelled()
        self.fill(max_tokens=900)
        # At the first token, as no hand is so quick.
        browser.run("""new MutationObserver((_, observer) => {
          if (!document.querySelector("#output .token")) return;
          observer.disconnect();
          document.getElementById("stop-button").click();
        }).observe(document.getElementById("output"), {childList: true, subtree: true})""")
        browser.find("#send").click()
        self.assertIn("stopped", self.finished())
        self.assertTrue(0 < len(self.shown()) < 900)
        self.assertEqual(browser.text("#problem"), "")
        self.server.wait_until(lambda: cancelled() > before, "the server did not see the cancel")
        self.server.wait_until_idle()

    def test_a_full_queue_is_told_with_the_time_to_come_again(self):
        server = Server("--slots=1", "--max_queued_requests=1", "--retry_pushback=1500ms")
        self.addCleanup(server.kill)
        gateway = Gateway(server.address)
        self.addCleanup(gateway.kill)
        ending = threading.Event()
        threads = [threading.Thread(target=self.keep_busy, args=(server, ending)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            browser = self.ready(gateway)
            self.fill()

            def refused() -> bool:  # or it found a place between two others
                browser.find("#send").click()
                self.finished()
                return browser.text("#problem") != ""

            browser.wait(refused, "no call was refused")
        finally:
            ending.set()
            for thread in threads:
                thread.join()
        problem = browser.text("#problem")
        self.assertTrue(problem.startswith("The queue is full"), problem)
        self.assertIn("Come again in 2 s", problem)
        self.assertEqual(browser.find("#problem").aria_role, "alert")
        server.wait_until_idle()
        browser.find("#send").click()
        self.finished()
        self.assertEqual((browser.text("#problem"), len(self.shown())), ("", 12))

    @staticmethod
    def keep_busy(server: Server, ending: threading.Event) -> None:
        call = request(PROMPT, max_tokens=900, stop={"ignore_eos": True})
        while not ending.is_set():
            try:
                for _ in server.stub.Generate(call):
                    if ending.is_set():
                        break
            except grpc.RpcError:
                ending.wait(0.002)

    def test_a_keyboard_is_enough(self):
        browser = self.ready()
        press = lambda *keys: ActionChains(browser.driver).send_keys(*keys).perform()
        press(Keys.TAB)
        self.assertEqual(browser.driver.switch_to.active_element.text, "Skip to the prompt")
        press(Keys.ENTER)
        self.assertEqual(browser.run("return document.activeElement.id"), "prompt")
        press(PROMPT)
        ActionChains(browser.driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
        self.finished()
        self.assertGreater(len(self.shown()), 0)
        passed = []
        while (active := browser.driver.switch_to.active_element).get_attribute("id") != "output":
            self.assertTrue(active.accessible_name, active.get_attribute("outerHTML"))
            self.assertLess(len(passed), 40, passed)
            passed.append(active.get_attribute("id"))
            press(Keys.TAB)
            self.assertNotEqual(browser.run("return getComputedStyle(document.activeElement).outlineStyle"), "none")
        for name in ("prompt", "max_tokens", "stop", "max_recursions", "router_threshold", "send", "clear", "digits"):
            self.assertIn(name, passed)
        press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        said = browser.text("#token-said")
        self.assertIn(json.dumps(self.shown()[1][0]), said)
        self.assertIn(f"depth {self.shown()[1][1]} of 3", said)
        self.assertTrue(browser.find("#tip").is_displayed())
        press(Keys.ESCAPE)
        self.assertFalse(browser.find("#tip").is_displayed())
        # Escape also ends a call, from anywhere.
        self.browser.set("#max_tokens", 900)
        browser.run("""new MutationObserver((_, observer) => {
          if (document.querySelectorAll("#output .token").length === 0) return;
          observer.disconnect();
          document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
        }).observe(document.getElementById("output"), {childList: true, subtree: true})""")
        browser.find("#max_tokens").send_keys(Keys.ENTER)
        self.assertIn("stopped", self.finished())

    def test_nothing_is_wider_than_a_narrow_screen(self):
        browser = self.ready()
        browser.emulate(width=360, height=740)
        self.generate(prompt="x" * 300)
        browser.wait(lambda: browser.all("#figures .bars .fill"), "no figures came")
        wide = browser.run("""return [document.documentElement.scrollWidth, ...[...document.querySelectorAll("body *")]
          .filter((one) => one.getBoundingClientRect().right > 360.5 && !one.closest(".unseen"))
          .map((one) => one.outerHTML.slice(0, 80))]""")
        self.assertEqual(wide, [360])
        for element in browser.all("button, select, input[type=number]"):
            if element.is_displayed():
                self.assertGreaterEqual(element.size["height"], 24, element.get_attribute("outerHTML"))

    def test_dark_and_light_can_both_be_read(self):
        browser = self.ready()
        self.generate()
        self.browser.run("window.scrollTo(0, 0)")
        grounds = {}
        for scheme in ("light", "dark"):
            browser.emulate(scheme)
            colours = browser.run(LUMINANCE + """return {
              ground: of("body", "backgroundColor"), panel: of("section", "backgroundColor"), text: of("body", "color"),
              muted: of("#engine-state", "color"), main: of("#send", "backgroundColor"), onMain: of("#send", "color"),
              border: of("#prompt", "borderTopColor"),
              depths: [...document.querySelectorAll("#legend .token")].map((token) => getComputedStyle(token))
                .map((style) => [style.backgroundColor, style.color, style.borderBottomColor].map(luminance))}""")
            grounds[scheme] = colours["ground"]
            for text, ground in (("text", "ground"), ("text", "panel"), ("muted", "panel"), ("onMain", "main")):
                self.assertGreaterEqual(contrast(colours[text], colours[ground]), 4.5, (scheme, text, ground))
            self.assertGreaterEqual(contrast(colours["border"], colours["panel"]), 3, scheme)
            for tint, text, mark in colours["depths"]:
                self.assertGreaterEqual(contrast(text, tint), 7, (scheme, colours))
                self.assertGreaterEqual(contrast(mark, tint), 3, (scheme, colours))
                self.assertGreaterEqual(contrast(mark, colours["ground"]), 3, (scheme, colours))
            # Deeper is further from the ground, evenly enough to be told apart.
            steps = [contrast(tint, colours["ground"]) for tint, _, _ in colours["depths"]]
            self.assertEqual(steps, sorted(steps), scheme)
            self.assertGreater(min(later / earlier for earlier, later in zip(steps, steps[1:])), 1.12, (scheme, steps))
        self.assertGreater(grounds["light"], 0.8)
        self.assertLess(grounds["dark"], 0.05)

    def test_nothing_leaves_the_gateway(self):
        browser = self.ready()
        self.generate(prompt='<img src="http://example.com/x" onerror="window.broken = 1"><script>window.broken = 1</script>\n')
        browser.wait(lambda: browser.all("#figures .bars .fill"), "no figures came")
        asked = browser.requests()
        self.assertGreater(len(asked), 10)
        self.assertEqual([url for url in asked if not url.startswith(self.origin)], [])
        self.assertEqual(browser.logs(), [])  # no violation of the policy, no error
        self.assertEqual(browser.all("#output img, #output script"), [])
        self.assertIsNone(browser.run("return window.broken ?? null"))
        # Whatever got into the page could neither call home nor run what it brings.
        blocked = browser.driver.execute_async_script("""
          const done = arguments[0], seen = new Set();
          document.addEventListener("securitypolicyviolation", (event) => {
            seen.add(event.effectiveDirective);
            if (seen.size === 3) done([...seen].sort());
          });
          fetch("http://127.0.0.1:1/").catch(() => {});
          document.head.append(document.createElement("style"));
          document.querySelector("style").textContent = "body { color: red }";
          try { document.body.innerHTML += "<b onclick='x()'>"; } catch { }""")
        self.assertEqual(blocked, ["connect-src", "require-trusted-types-for", "style-src-elem"])

    def test_the_engine_is_seen_at_work(self):
        browser = self.ready()
        ending = threading.Event()
        worker = threading.Thread(target=self.keep_busy, args=(self.server, ending))
        worker.start()
        self.addCleanup(worker.join)
        self.addCleanup(ending.set)
        # By one script each: what is drawn is drawn anew with each look.
        numbers = lambda: browser.run("return Object.fromEntries([...document.querySelectorAll('#figures .numbers div')]"
                                      ".map((one) => [...one.children].slice(0, 2).map((part) => part.textContent)))")
        browser.wait(lambda: numbers().get("mean depth", "–") != "–", "no figures came")
        browser.wait(lambda: browser.text("#engine-state") == "live", "the engine is not live")
        self.assertIn("of 4 slots", browser.text("#figures .numbers"))
        charts = browser.run("""return Object.fromEntries([...document.querySelectorAll("#figures svg")]
          .map((one) => [one.getAttribute("aria-label").split(":")[0], [...one.querySelectorAll("path")].map((path) => path.getAttribute("d"))]))""")
        self.assertEqual(set(charts), {"Rows per step by recursion", "Tokens per second", "First token", "Between tokens",
                                       "Requests", "Queue time"})
        self.assertEqual(len(charts["Rows per step by recursion"]), 3)
        for name in ("First token", "Between tokens"):
            browser.wait(lambda: "median –" not in browser.run(
                "return [...document.querySelectorAll('#figures .chart')].find((one) => one.textContent.startsWith(arguments[0])).textContent",
                name), f"{name} has no figures")
        bars = browser.run("return [...document.querySelectorAll('#figures .bars > span')].map((one) => one.textContent)")
        self.assertEqual(bars[::2], ["entry", "recursion 1", "recursion 2", "recursion 3", "exit"])
        # A look at a time, and none while nobody sees it.
        browser.run("Object.defineProperty(document, 'hidden', {value: true}); document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait(lambda: not [url for url in browser.requests() if url.endswith("/engine")], "it goes on asking")

    def test_conversations_go_on(self):
        browser = self.ready()
        browser.find("input[value=chat] + span").click()
        for turn, message in enumerate(("Go", "On")):
            self.generate(prompt=message)
            self.assertEqual(len(browser.all("#output .turn")), 2 * turn + 2)
            self.assertEqual(len(self.shown()), 12 * turn + 12)
        self.assertEqual([one.text for one in browser.all("#output .role")], ["user", "assistant"] * 2)
        answers = browser.run("return [...document.querySelectorAll('#output .turn')].map((turn) => "
                              "[...turn.querySelectorAll('.prompt, .token')].map((part) => part.textContent).join(''))")
        messages = [{"role": role, "content": text} for role, text in
                    zip(("user", "assistant", "user"), answers)]
        answer = self.gateway.post("/v1/chat/completions", {"messages": messages, "max_tokens": 12, "temperature": 0})
        self.assertEqual(answer.json()["choices"][0]["message"]["content"], answers[3])
        browser.find("#clear").click()
        self.assertEqual(browser.all("#output .turn"), [])

    def test_a_key_is_asked_for_and_kept_in_the_tab(self):
        secret = "s" * 43
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / "access.json").write_text(json.dumps({"tokens": [
            {"id": "a", "sha256": hashlib.sha256(secret.encode()).hexdigest(), "tenant": "t"}]}))
        (folder / "token").write_text(f"a.{secret}\n")
        server = Server(f"--access_file={folder}/access.json")
        self.addCleanup(server.kill)
        gateway = Gateway(server.address, flags=(f"--server_token_file={folder}/token",))
        self.addCleanup(gateway.kill)
        browser = self.open(gateway)
        browser.wait(lambda: browser.find("#key").is_displayed(), "no key was asked for")
        self.assertEqual(browser.text("#engine-state"), "Needs a key")
        browser.find("#key-input").send_keys(f"a.{secret}", Keys.ENTER)
        browser.wait(lambda: browser.find("#send").is_enabled(), "the key did not help")
        self.generate()
        self.assertEqual(len(self.shown()), 12)
        kept = browser.run("return [JSON.stringify(sessionStorage), JSON.stringify(localStorage), document.cookie, "
                           "location.href, document.documentElement.outerHTML]")
        self.assertEqual([secret in one for one in kept], [True] + [False] * 4)


if __name__ == "__main__":
    unittest.main()
