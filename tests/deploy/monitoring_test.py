# SPDX-License-Identifier: Apache-2.0
"""Alerts under promtool's unit tests, and dashboards whose every expression promtool and a live server accept."""

import copy
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

from deploy.grafana.dashboards import all_dashboards
from tests.deploy import metric_checks
from tests.deploy.rendering import MANIFESTS

RULES = yaml.safe_load((MANIFESTS / "components" / "prometheusrule" / "prometheus_rule.yaml").read_text())["spec"]
CASES = pathlib.Path(__file__).with_name("alert_cases.yaml")


DASHBOARDS = all_dashboards()


def promtool(*arguments, rules=RULES, alert=""):
    """Exit status and what is said, in a folder with rules.yaml and the cases, or those that name this alert."""
    with tempfile.TemporaryDirectory() as scratch:
        (pathlib.Path(scratch) / "rules.yaml").write_text(yaml.safe_dump(rules))
        cases = yaml.safe_load(CASES.read_text())
        cases["tests"] = [case for case in cases["tests"] if case["name"].startswith(alert)]
        (pathlib.Path(scratch) / CASES.name).write_text(yaml.safe_dump(cases))
        done = subprocess.run(["promtool", *arguments], cwd=scratch, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr


def alerts():
    return [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]


def as_configmap(boards):
    return [{"kind": "ConfigMap", "metadata": {"name": "boards"}, "data": boards}]


class AlertsTest(unittest.TestCase):
    def test_promtool_takes_the_rules(self):
        status, said = promtool("check", "rules", "rules.yaml")
        self.assertEqual(status, 0, said)

    def test_each_alert_fires_and_does_not(self):
        status, said = promtool("test", "rules", CASES.name)
        self.assertEqual(status, 0, said)

    def test_each_alert_has_a_case(self):
        tested = re.findall(r'ALERTS\{alertname="(\w+)"', CASES.read_text())
        self.assertEqual({alert["alert"] for alert in alerts()}, set(tested))

    def test_the_cases_notice_an_alert_that_never_fires_and_one_that_always_does(self):
        for i, alert in enumerate(alerts()):
            for expression in ("vector(1) == 0", "max by (namespace, job, pod) ({namespace=~\".+\"} > -1e18)"):
                with self.subTest(alert=alert["alert"], expression=expression):
                    rules = copy.deepcopy(RULES)
                    rules["groups"][1]["rules"][i]["expr"] = expression
                    self.assertNotEqual(promtool("test", "rules", CASES.name, rules=rules, alert=alert["alert"])[0], 0)


class DashboardsTest(unittest.TestCase):
    def test_the_files_are_what_the_program_writes(self):
        for name, text in DASHBOARDS.items():
            self.assertEqual((MANIFESTS / "components" / "grafana" / name).read_text(), text,
                             f"{name}: run deploy/grafana/dashboards.py")

    def test_promtool_takes_each_expression(self):
        rules = []
        for name, text in DASHBOARDS.items():
            for panel in metric_checks.panels(json.loads(text)):
                rules += [{"record": "a:b:c", "expr": target["expr"].replace("$__rate_interval", "5m"),
                           "labels": {"where": f"{name} {panel['title']} {target['refId']}"}} for target in panel["targets"]]
        status, said = promtool("check", "rules", "rules.yaml", rules={"groups": [{"name": "g", "rules": rules}]})
        self.assertEqual(status, 0, said)

    def test_a_broken_dashboard_is_noticed(self):
        def second_panel(board):
            return metric_checks.panels(board)[1]
        mutations = [
            lambda board: second_panel(board).update(id=2),
            lambda board: second_panel(board).update(gridPos={"x": 0, "y": 1, "w": 8, "h": 8}),
            lambda board: second_panel(board).update(datasource={"type": "prometheus", "uid": "P1809F7CD0C75ACF3"}),
            lambda board: second_panel(board)["targets"].append(dict(second_panel(board)["targets"][0])),
            lambda board: board["templating"]["list"].pop(0),
            lambda board: board.update(uid="recurve-recursion"),
        ]
        self.assertEqual(metric_checks.dashboard_forms(as_configmap(DASHBOARDS)), [])
        for i, mutate in enumerate(mutations):
            with self.subTest(mutation=i):
                board = json.loads(DASHBOARDS["recurve-serving.json"])
                mutate(board)
                changed = {**DASHBOARDS, "recurve-serving.json": json.dumps(board)}
                self.assertNotEqual(metric_checks.dashboard_forms(as_configmap(changed)), [])


if __name__ == "__main__":
    unittest.main()
