"""What Prometheus' own tool says of our configuration, rules and their tests."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool, of the Debian package prometheus"),
]

PROMETHEUS = Path(__file__).parents[2] / "ops" / "prometheus"
_TOOL_SECONDS = 60.0


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml", "alerts.yml"),
        ("test", "rules", "tests/alerts.yml"),
    ],
    ids=" ".join,
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=_TOOL_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr


def test_a_wrong_rule_is_found(tmp_path: Path) -> None:
    """The tests above can fail: an alert that never fires does not pass."""
    alerts = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    rule = alerts["groups"][0]["rules"][0]
    tests = yaml.safe_load((PROMETHEUS / "tests" / "alerts.yml").read_text())
    tests["tests"] = [test for test in tests["tests"] if test["name"] == rule["alert"]]
    tests["rule_files"] = ["alerts.yml"]
    (tmp_path / "tests.yml").write_text(yaml.safe_dump(tests))
    for expression, code in ((rule["expr"], 0), (rule["expr"].replace("== 0", "== 2"), 1)):
        rule["expr"] = expression
        (tmp_path / "alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
        done = subprocess.run(
            ["promtool", "test", "rules", "tests.yml"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=_TOOL_SECONDS,
        )
        assert done.returncode == code, done.stdout + done.stderr
