"""Alarms: of metrics that exist, and on when they should be."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

ALERTS = ROOT / "cluster" / "alerts.yaml"
CASES = {
    "a fifth of the clips fails": (
        {
            'ray_evs_clips_total{status="failed"}': "0+12x90",
            'ray_evs_clips_total{status="success"}': "0+48x90",
        },
        {"ClipsFail"},
    ),
    "one in a hundred fails": (
        {'ray_evs_clips_total{status="failed"}': "0+1x90", 'ray_evs_clips_total{status="success"}': "0+99x90"},
        set(),
    ),
    "segments wait at T2V and nothing has ever passed it": (
        {
            'ray_evs_segments{stage="t2v",waiting="false"}': "5+0x90",
            'ray_evs_segments{stage="t2i_a",waiting="false"}': "2+0x90",
            'ray_evs_frames_total{stage="t2i_a"}': "0+60x90",
        },
        {"StageStandsStill"},
    ),
    "all goes on": (
        {
            'ray_evs_segments{stage="t2v",waiting="false"}': "5+0x90",
            'ray_evs_frames_total{stage="t2v"}': "0+60x90",
        },
        set(),
    ),
    "a worker dies every minute": (
        {'ray_evs_load_seconds_count{role="t2i"}': "0+1x90", 'ray_evs_workers{roles="t2i"}': "2+0x90"},
        {"WorkersLoadAgainAndAgain"},
    ),
    "a hundred workers start": (
        {'ray_evs_load_seconds_count{role="t2i"}': "0+50x2 100+0x90", 'ray_evs_workers{roles="t2i"}': "100+0x90"},
        set(),
    ),
}


def test_alarms_are_of_metrics_that_exist():
    declared = set(re.findall(r'"(evs_[a-z_]+)"', (ROOT / "evs_batch" / "runtime" / "metrics.py").read_text()))
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    named = {name for rule in rules for name in re.findall(r"ray_(evs_[a-z_]+?)(?:_count)?\b", rule["expr"])}
    assert len(rules) == 3
    assert named <= declared
    assert all(rule["annotations"]["summary"] for rule in rules)


@pytest.mark.skipif(not shutil.which("promtool"), reason="apt-get install prometheus")
@pytest.mark.parametrize("case", CASES)
def test_they_are_on_when_they_should_be(case: str, tmp_path: Path):
    series, expected = CASES[case]
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    fired = set()
    for name in (rule["alert"] for rule in rules):
        silent = {"eval_time": "85m", "alertname": name, "exp_alerts": []}
        test = {"interval": "1m", "input_series": inputs, "alert_rule_test": [silent]}
        whole = {"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}
        (tmp_path / "test.yaml").write_text(yaml.safe_dump(whole))
        command = ["promtool", "test", "rules", tmp_path / "test.yaml"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            fired.add(name)
    assert fired == expected
