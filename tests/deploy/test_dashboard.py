"""The Grafana dashboard asks for metrics that are exported, with labels that they have."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from reeldex.flows.monitoring.metrics import METRICS

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/reeldex.json").read_text(encoding="utf-8"))
OF_PROMETHEUS = {"job", "instance"}


def queries() -> list[str]:
    variables = [each["query"]["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]] + variables


def test_each_metric_that_is_queried_is_exported() -> None:
    queried = {name for query in queries() for name in re.findall(r"\breeldex_\w+", query)}
    assert queried == set(METRICS), "and each that is exported is shown"


def test_each_label_that_is_queried_exists() -> None:
    for query in queries():
        known = {METRICS[name].label for name in re.findall(r"\breeldex_\w+", query)} | OF_PROMETHEUS
        selected = {label for braces in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)=", braces)}
        grouped = {label.strip() for by in re.findall(r"\bby \(([^)]*)\)", query) for label in by.split(",")}
        assert selected | grouped <= known, query


def test_counters_are_rates_and_gauges_are_not() -> None:
    for query in queries():
        for name in re.findall(r"\breeldex_\w+", query):
            rated = re.search(rf"(rate|increase)\({name}\{{[^}}]*\}}\[", query) is not None
            assert rated is (METRICS[name].kind == "counter"), query


def test_panels_do_not_overlap() -> None:
    seen: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & seen, panel["title"]
        assert max(x for x, _ in cells) < 24
        seen |= cells


def test_prometheus_scrapes_the_port_that_is_served() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]
