"""Every metric that is declared is changed somewhere, and the operators' page lists it."""

import ast
import re
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

import api.metrics
import common.runtime.metrics

ROOT = Path(__file__).parents[4]
PACKAGES = ("api", "common", "deploy", "worker")
KINDS = {"Counter": "counter", "Gauge": "gauge", "Histogram": "histogram"}
CHANGES = {"inc", "dec", "set", "observe", "time", "labels"}
ROW = re.compile(r"^\| `(infill_\w+?)(?:\{([\w,]+)\})?` \| (\w+) \|", re.MULTILINE)


def modules() -> list[ast.Module]:
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [ast.parse(path.read_text(encoding="utf-8")) for path in paths]


def declared_names(module: ast.Module) -> set[str]:
    """Return the constants of a module that are metrics."""
    return {
        node.target.id
        for node in module.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in KINDS
    }


def changed_names(module: ast.Module) -> set[str]:
    """Return the names that a module changes as a metric: `NAME.inc()`, `NAME.labels(…)`, …."""
    return {
        node.func.value.id
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CHANGES
        and isinstance(node.func.value, ast.Name)
    }


METRICS = {
    name: metric
    for module in (api.metrics, common.runtime.metrics)
    for name, metric in vars(module).items()
    if isinstance(metric, Counter | Gauge | Histogram)
}
MODULES = modules()
CHANGED = set().union(*map(changed_names, MODULES))


def test_metrics_are_declared_in_two_modules_only() -> None:
    assert set().union(*map(declared_names, MODULES)) == METRICS.keys()


@pytest.mark.parametrize("name", METRICS)
def test_a_declared_metric_is_changed(name: str) -> None:
    assert name in CHANGED


def test_the_page_lists_every_metric_with_its_labels_and_kind() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    listed = {name: (labels, kind) for name, labels, kind in ROW.findall(page)}
    declared = {}
    for metric in METRICS.values():
        kind = KINDS[type(metric).__name__]
        suffix = "_total" if kind == "counter" else ""
        declared[f"{metric._name}{suffix}"] = (",".join(metric._labelnames), kind)
    assert listed == declared
