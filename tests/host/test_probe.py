# SPDX-License-Identifier: Apache-2.0
"""What `host.probe` says where nothing is in the way of a start."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from _circumstances import ask
from pycontain import host

pytestmark = pytest.mark.requires("userns")


@pytest.fixture(scope="module")
def report() -> host.Report:
    """Return what is found out here."""
    return host.probe()


def test_what_the_default_sandbox_needs_is_there_where_it_starts(report: host.Report) -> None:
    assert report.ok
    assert report["a sandbox"].ok
    assert [str(finding) for finding in report.failed if finding.needed] == []
    assert (report.uid, report.kernel) == (os.geteuid(), os.uname().release)


def test_each_finding_is_whole(report: host.Report) -> None:
    names = [finding.name for finding in report]
    assert len(set(names)) == len(names)
    for finding in report:
        assert finding.ok == (finding.cause is None) == (finding.blocked_by is None)
        assert finding.ok or (finding.cause and finding.cause.why and finding.remedy)
        assert finding.purpose
        assert not (finding.ok and (finding.errno or finding.call or finding.instead))
    with pytest.raises(KeyError):
        report["no such thing"]


def test_it_can_be_told_to_programs(report: host.Report) -> None:
    told = json.loads(json.dumps(report.as_dict()))
    assert told["ok"] is True
    assert [row["name"] for row in told["findings"]] == [each.name for each in report]


@pytest.mark.requires("rootrange")
def test_a_range_of_ids(report: host.Report) -> None:
    assert report["range of ids"].detail.startswith("65536 ids")


@pytest.mark.requires("rootrange", "user")
def test_subordinate_ids_are_of_no_use_where_newuidmap_has_no_privileges() -> None:
    report = ask(["setpriv", "--no-new-privs"])
    finding = report["findings"]["range of ids"]
    assert finding["cause"]["blocked_by"] == host.BlockedBy.OUTER_CAPABILITIES
    assert "no_new_privs" in finding["cause"]["why"]
    assert "NoNewPrivileges=no" in finding["cause"]["remedy"]
    assert (report["ok"], report["status"]) == (True, 0)


@pytest.mark.requires("single_id", "user")
def test_a_user_without_subordinate_ids() -> None:
    finding = ask()["findings"]["range of ids"]
    assert finding["cause"]["blocked_by"] == host.BlockedBy.CONFIGURATION
    assert "usermod --add-subuids" in finding["cause"]["remedy"]


@pytest.mark.requires("idmap")
def test_what_only_root_has(report: host.Report) -> None:
    root = report["idmapped mounts"]  # of a machine it may be an overlay
    assert root.ok or root.blocked_by is host.BlockedBy.CONFIGURATION
    assert {"EROFS from a file"} <= {finding.name for finding in report}


@pytest.mark.requires("cgroup_memory", "cgroup_pids")
def test_limits_that_were_in_force(report: host.Report) -> None:
    assert report["control groups"].ok
    assert "memory" in report["limit memory"].detail
    assert "pids.max" in report["limit pids"].detail


@pytest.mark.requires("no_cgroup")
def test_limits_that_cannot_be_had_are_no_reason_not_to_start(report: host.Report) -> None:
    assert report.ok
    assert report["limit memory"].blocked_by is host.BlockedBy.CGROUPS
    assert report["limit memory"].remedy


def test_it_can_be_asked_beside_an_event_loop() -> None:
    assert asyncio.run(asyncio.to_thread(host.probe)).ok


@pytest.mark.requires("idmap")
def test_a_store_where_none_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYCONTAIN_STORE", "/sys/kernel/store")
    report = host.probe()
    assert report.ok
    for name, why in (
        ("idmapped mounts of /sys/kernel", "does not idmap mounts of its file system"),
        ("EROFS from a file", "no file can be made in /sys/kernel"),
    ):
        cause = report[name].cause
        assert cause is not None
        assert cause.blocked_by is host.BlockedBy.CONFIGURATION
        assert why in cause.why
