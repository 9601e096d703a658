"""What a fleet's driver writes: batches, what a loss of power leaves behind, and full disks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benches.devices.node_gpus import simulated_gpus
from benches.fleet import run_writers
from benches.fleet.messages import Ending, Opened, Sent
from benches.fleet.run_writers import ARRIVALS, ShardWriter, SurveyWriter, add_readings, parse_arrival, recover
from benches.row import new_row
from benches.run import environment
from benches.run.journal import NAME as JOURNAL
from benches.run.journal import JournalError, line_of, read_journal
from benches.run.run import Request, RunError
from benches.run.survey import surveyed
from benches.run.survey_file import read_survey
from kernels.registry import OPS

POINTS = [OPS["matmul"].point("torch", "bf16", {"m": m, "n": 127, "k": 129}) for m in range(1, 8)]
GPUS = [surveyed(gpu) for gpu in simulated_gpus({})[:3]]
REQUEST = Request("the sweep\n", ["s"], 1, {}, mode="survey")


def sent(m: int, **fields: Any) -> Sent:
    row = new_row(POINTS[m - 1], OPS["matmul"].cost(POINTS[m - 1], "cuda"), "ok", **fields)
    return Sent(row.point, row.status, row.cause, line_of(row))


def opened(gpu: int, **about: Any) -> Opened:
    found = {"device_kind": "simulated", "device_uuid": GPUS[gpu].uuid, "host": GPUS[gpu].host, "driver": "1", **about}
    return Opened(GPUS[gpu], found | {"gpus": [{"uuid": GPUS[gpu].uuid}]})


def resuming(retry: bool = False) -> Request:
    return Request("the sweep\n", ["s"], 1, {}, mode="survey", resuming=True, retry=retry)


def survey(folder: Path, request: Request = REQUEST, gpus: int = 2) -> SurveyWriter:
    writer = SurveyWriter(folder, request, "simulated")
    assert [writer.opened(opened(i)) for i in range(gpus)] == [None] * gpus
    return writer


def names(folder: Path) -> list[int]:
    return [row.dims["m"] for row in read_journal(folder).rows]


def test_a_survey_has_a_run_directory_for_each_gpu(tmp_path: Path) -> None:
    writer = survey(tmp_path)
    writer.commit([(GPUS[0].directory, sent(1)), (GPUS[1].directory, sent(1)), (GPUS[0].directory, sent(2))])
    board = {"start": {"ecc": 0}, "end": {"ecc": 1}}
    writer.ended(GPUS[0], Ending([], b'{"a": 1}\n', board), interrupted=False)
    writer.lost(GPUS[1], "it fell over")
    writer.close(interrupted=False)
    assert [(gpu.index, gpu.status, gpu.reason) for gpu in read_survey(tmp_path).gpus] == [
        (0, "finished", None),
        (1, "lost", "it fell over"),
    ]
    first, second = (tmp_path / gpu.directory for gpu in GPUS[:2])
    assert (names(first), names(second)) == ([1, 2], [1])
    assert (first / "sentinels.jsonl").read_bytes() == b'{"a": 1}\n'
    assert [environment.read(folder)["interrupted"] for folder in (first, second)] == [False, True]
    assert environment.read(first)["board"] == board
    assert not (tmp_path / ARRIVALS).exists()


def test_a_batch_is_brought_to_the_disk_once_however_many_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = survey(tmp_path)
    synced: list[int] = []
    monkeypatch.setattr("benches.run.journal.SYNC", synced.append)
    monkeypatch.setattr(run_writers, "SYNC", synced.append)
    writer.commit([(GPUS[i % 2].directory, sent(m)) for i, m in enumerate((1, 1, 2, 2, 3))])
    assert len(synced) == 1
    monkeypatch.setattr(run_writers, "CHECKPOINT_BYTES", 1)
    writer.commit([(GPUS[0].directory, sent(4))])
    assert len(synced) == 1 + 1 + 2 + 1  # the batch, both journals, the emptied file
    assert (tmp_path / ARRIVALS).stat().st_size == 0
    writer.commit([(GPUS[0].directory, sent(5))])
    writer.close(interrupted=False)
    assert names(tmp_path / GPUS[0].directory) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "damage",
    [
        lambda journal: journal.write_bytes(b""),
        lambda journal: journal.write_bytes(journal.read_bytes()[:-7]),  # torn
        lambda journal: journal.unlink(),
        lambda journal: None,
    ],
    ids=["empty", "torn", "gone", "whole"],
)
def test_after_a_loss_of_power_journals_are_made_whole(damage: Callable[[Path], object], tmp_path: Path) -> None:
    writer = survey(tmp_path)
    writer.commit([(GPUS[0].directory, sent(m)) for m in (1, 2, 3)])
    writer._lock.close()  # as a killed process leaves it
    damage(tmp_path / GPUS[0].directory / JOURNAL)
    with (tmp_path / ARRIVALS).open("ab") as file:
        file.write(b'{"directory":"' + GPUS[0].directory.encode() + b'","row":{"poi')
    again = survey(tmp_path, resuming())
    assert sorted(again.done[GPUS[0].directory]) == sorted(point.id for point in POINTS[:3])
    again.close(interrupted=False)
    assert sorted(names(tmp_path / GPUS[0].directory)) == [1, 2, 3]
    assert len((tmp_path / GPUS[0].directory / JOURNAL).read_bytes().splitlines()) == 3
    assert len(environment.read(tmp_path / GPUS[0].directory)["resumed_utc"]) == 1


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"directory":"..","row":{}}', b'{"directory":"a/b","row":{}}', b'{"row":{}}'])
def test_what_is_not_an_arrival(line: bytes) -> None:
    assert parse_arrival(line) is None


def test_nothing_to_recover(tmp_path: Path) -> None:
    recover(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_changed_since_does_not_go_on(tmp_path: Path) -> None:
    writer = survey(tmp_path, gpus=1)
    writer.commit([(GPUS[0].directory, sent(1))])
    writer.close(interrupted=True)
    again = SurveyWriter(tmp_path, resuming(), "simulated")
    assert again.opened(opened(0, driver="2")) == "it cannot go on, since this changed: driver: 1 → 2"
    assert again.opened(opened(1, driver="2")) is None  # a survey records GPUs of several drivers
    again.close(interrupted=True)


def test_failed_points_are_measured_again_on_request(tmp_path: Path) -> None:
    writer = survey(tmp_path, gpus=1)
    failed = sent(2)._replace(status="error")
    line = json.dumps(json.loads(failed.line) | {"status": "error", "reason": "off"}).encode() + b"\n"
    writer.commit([(GPUS[0].directory, sent(1)), (GPUS[0].directory, failed._replace(line=line))])
    writer.close(interrupted=True)
    for retry, count in ((False, 2), (True, 1)):
        again = SurveyWriter(tmp_path, resuming(retry), "simulated")
        assert len(again.done[GPUS[0].directory]) == count
        again.close(interrupted=True)


def test_a_shared_run_has_one_journal_and_names_its_gpus(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, REQUEST)
    assert [writer.opened(opened(0)), writer.opened(opened(1, driver="2")), writer.opened(opened(2))] == [
        None,
        "unlike the GPUs that share the points: driver: 1 → 2",
        None,
    ]
    writer.commit([(GPUS[0].directory, sent(1)._replace(error=("errors/x.txt", "all of it"))), (GPUS[2].directory, sent(2))])
    writer.ended(GPUS[0], Ending([], b"{}\n", {"start": {"ecc": True}, "end": {"ecc": False}}), interrupted=False)
    writer.close(interrupted=False)
    about = environment.read(tmp_path)
    assert about["boards"] == {GPUS[0].uuid: {"start": {"ecc": True}, "end": {"ecc": False}}}
    assert (about["device_uuid"], about["driver"], [gpu["uuid"] for gpu in about["gpus"]]) == (None, "1", [GPUS[0].uuid, GPUS[2].uuid])
    assert names(tmp_path) == [1, 2]
    assert (tmp_path / "errors" / "x.txt").read_text(encoding="utf-8") == "all of it"
    again = ShardWriter(tmp_path, resuming())
    assert again.done == {"": [POINTS[0].id, POINTS[1].id]}
    assert again.opened(opened(1, driver="2")) is not None  # the run is of the first driver, whoever comes first now
    again.close(interrupted=False)
    assert len(environment.read(tmp_path)["gpus"]) == 2


@pytest.mark.parametrize("make", [ShardWriter, lambda folder, request: SurveyWriter(folder, request, "cuda")])
def test_a_directory_that_cannot_be_used_is_a_line(make: Callable[..., Any], tmp_path: Path) -> None:
    writer = make(tmp_path / "run", REQUEST)
    with pytest.raises(RunError, match="another run is writing there"):
        make(tmp_path / "run", resuming())
    writer.close(interrupted=True)
    if isinstance(writer, SurveyWriter):
        with pytest.raises(RunError, match="already holds a run"):
            make(tmp_path / "run", REQUEST)
    changed = Request("another sweep\n", ["s"], 1, {}, resuming=True)
    with pytest.raises(RunError, match="since the sweep changed"):
        make(tmp_path / "run", changed)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(RunError, match="cannot be written"):
        make(tmp_path / "file" / "run", REQUEST)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    writer = survey(tmp_path, gpus=1)
    journal = tmp_path / GPUS[0].directory / JOURNAL
    journal.unlink()
    journal.symlink_to("/dev/full")
    with pytest.raises(JournalError, match=r"No space left on device; make room and run again"):
        writer.commit([(GPUS[0].directory, sent(1))])
    journal.unlink()
    writer._lock.close()
    again = survey(tmp_path, resuming(), gpus=1)  # the row had arrived
    assert again.done[GPUS[0].directory] == [POINTS[0].id]


def test_readings_are_added_once(tmp_path: Path) -> None:
    path = tmp_path / "sentinels.jsonl"
    for readings in (b"a\nb\n", b"a\nb\nc\n", b"c\n", b""):
        add_readings(path, readings)
    assert path.read_bytes() == b"a\nb\nc\n"
    add_readings(tmp_path / "absent" / "x", b"a\n")  # costs the readings only
