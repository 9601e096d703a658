"""A survey's rows and boards, read through survey.parquet; the inventory."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from benches.run.survey_file import read_survey
from reports.refusal import RunError
from reports.survey import rows_file
from reports.survey.boards import board_facts
from reports.survey.inventory import places, read_inventory
from reports.survey.survey_run import read_run
from tests.reports.surveys import Planted, make_survey, points, uuid_of


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    planted = {2: Planted({"memory": 1.25}, {"pcie_width": 8, "ecc_corrected": 7}), 4: Planted({"all": 1.5})}
    return make_survey(tmp_path_factory.mktemp("survey") / "run", gpus=5, count=7, planted=planted, spread=0.0, hosts_of=3, lost=[1])


def test_every_row_has_its_gpu_its_family_and_its_prediction(survey: Path) -> None:
    run = read_run(survey)
    assert run.problems == ()
    assert len(run.rows) == 4 * 7
    assert list(dict.fromkeys(run.rows["gpu"])) == [uuid_of(i) for i in (0, 2, 3, 4)]
    assert list(run.boards["status"]) == ["finished", "lost", "finished", "finished", "finished"]
    expected = {point.id: (seconds, name) for point, seconds, name in points(7)}
    assert {name for _, name in expected.values()} == {"memory", "tensor cores", "launch"}
    for row in run.rows.itertuples():
        seconds, name = expected[row.point]
        assert row.family == name
        assert row.predicted_s == pytest.approx(seconds, rel=1e-6)
        slower = {uuid_of(2): 1.25 if name == "memory" else 1.0, uuid_of(4): 1.5}.get(row.gpu, 1.0)
        assert row.median_s == pytest.approx(slower * seconds, rel=1e-6)
        assert (row.host, row.index) == (row.directory.split("-gpu")[0], int(row.directory.split("-gpu")[1][0]))


def test_a_gpu_with_rows_whose_environment_cannot_be_read_is_named(tmp_path: Path) -> None:
    run = make_survey(tmp_path / "run", gpus=5, count=3, lost=[4])
    folders = [gpu.directory for gpu in read_survey(run).gpus]
    (run / folders[1] / "environment.json").write_text("", encoding="utf-8")
    (run / folders[2] / "environment.json").unlink()
    assert read_run(run).problems == (
        f"environment.json missing or unreadable in {folders[1]}, {folders[2]}: board and versions are not known",
    )


def test_counters_are_what_grew_and_a_link_is_what_it_showed_at_best(survey: Path) -> None:
    boards = read_run(survey).boards.set_index("gpu")
    assert boards.loc[uuid_of(2), ["pcie_width", "ecc_corrected", "ecc_corrected_grown"]].tolist() == [8, 7, 7]
    assert boards.loc[uuid_of(0), ["pcie_width", "ecc_corrected", "ecc_corrected_grown"]].tolist() == [16, 0, 0]
    assert pd.isna(boards.loc[uuid_of(1), "pcie_width"])


@pytest.mark.parametrize(
    ("board", "facts"),
    [
        (None, {}),
        ("x16", {}),
        ({"start": {"pcie_width": 16}, "end": {"pcie_width": 8}}, {"pcie_width": 16}),
        ({"start": {"pcie_generation": 1}, "end": {"pcie_generation": 5}}, {"pcie_generation": 5}),
        ({"start": {"ecc_corrected": 3}}, {"ecc_corrected": 3}),
        ({"start": {"ecc_corrected": 3}, "end": {"ecc_corrected": 5}}, {"ecc_corrected": 5, "ecc_corrected_grown": 2}),
        ({"start": {"ecc": True}, "end": {"ecc": None, "made_up": [1]}}, {"ecc": True}),
        ({"start": {"slowed_s": {"thermal": 1.0}}, "end": {"slowed_s": {"thermal": 4.0, "brake": 1.0}}}, {"slowed_s thermal": 3.0}),
    ],
)
def test_facts_of_a_board(board: object, facts: dict[str, object]) -> None:
    assert board_facts(board) == facts


def test_the_file_is_read_again_only_where_a_journal_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    survey = make_survey(tmp_path / "run", gpus=4, count=5)
    read_run(survey)
    parsed: list[str] = []
    whole = rows_file._journal

    def counted(run: Path, one: str) -> rows_file.Journalled:
        parsed.append(one)
        return whole(run, one)

    monkeypatch.setattr(rows_file, "_journal", counted)
    before = read_run(survey).rows
    assert parsed == []
    folder = read_survey(survey).gpus[3].directory
    journal = survey / folder / "rows.jsonl"
    line = json.loads(journal.read_text(encoding="utf-8").splitlines()[0])
    text = json.dumps(line | {"median_s": 0.5}) + "\n"
    with journal.open("a", encoding="utf-8") as file:
        file.write(text)
    after = read_run(survey).rows
    assert parsed == [folder]
    assert len(after) == len(before)
    again = (after["directory"] == folder) & (after["point"] == line["point"])
    assert after.loc[again, "median_s"].tolist() == [0.5]
    others = {(row.gpu, row.point): (row.median_s, row.predicted_s) for row in after[~again].itertuples()}
    assert others.items() < {(row.gpu, row.point): (row.median_s, row.predicted_s) for row in before.itertuples()}.items()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"point": "torn', "EOF"),
        ('{"median_s": 1}', "names no point"),
        ("not JSON", "names no point"),
        ('{"point": "p", "op": "matmul"}', "Field required"),
    ],
)
def test_a_damaged_line_costs_itself_only(tmp_path: Path, line: str, words: str) -> None:
    run = make_survey(tmp_path / "run", gpus=2, count=3)
    folder = read_survey(run).gpus[1].directory
    with (run / folder / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    for _ in range(2):  # from the journals, then from the file
        found = read_run(run)
        assert len(found.rows) == 6
        (problem,) = found.problems
        assert problem.startswith(f"1 damaged line in {folder}/rows.jsonl left out: rows.jsonl:4: ")
        assert words in problem


def test_numbers_that_no_measurement_gives_are_left_out(tmp_path: Path) -> None:
    run = make_survey(tmp_path / "run", gpus=1, count=3)
    journal = run / read_survey(run).gpus[0].directory / "rows.jsonl"
    rows = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    rows[1]["median_s"] = -1.0
    journal.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = read_run(run)
    assert set(found.rows["point"]) == {rows[0]["point"], rows[2]["point"]}
    assert "holds a number that no measurement gives" in found.problems[0]


@pytest.mark.parametrize("text", [b"", b"not Parquet", None])
def test_a_file_that_is_not_ours_is_made_anew(tmp_path: Path, text: bytes | None) -> None:
    run = make_survey(tmp_path / "run", gpus=2, count=3)
    if text is None:
        pd.DataFrame({"point": ["p"]}).to_parquet(run / rows_file.NAME)
    else:
        (run / rows_file.NAME).write_bytes(text)
    assert len(read_run(run).rows) == 6
    assert len(read_run(run).rows) == 6


def test_a_folder_that_cannot_be_written_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_survey(tmp_path / "run", gpus=2, count=3)

    def refuse(*_: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(rows_file, "write_file", refuse)
    found = read_run(run)
    assert len(found.rows) == 6
    assert found.problems == (
        f"{run / 'survey.parquet'} was not written (Read-only file system): the journals will be parsed again next time",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read (No such file or directory): a survey is what `--gpus` of several GPUs writes"),
        ("{", "survey.json"),
        ('{"schema_version": 99}', "newer version"),
        (
            '{"device_kind": "cuda", "sweeps": [], "seed": 1, "started_utc": "2026-11-27T02:00:00+00:00", "gpus": []}',
            "names no GPU",
        ),
    ],
)
def test_what_is_no_survey_is_refused_in_a_line(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / "survey.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=re.escape(str(tmp_path / "survey.json"))) as refusal:
        read_run(tmp_path)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


INVENTORY = "host,gpu,rack,slot,owner\nnode-000, 0 ,A1,7,lab\nNODE-000,2,A1,8,\nnode-001,,B2,3,shop\n\nfarm-9,1,Z9,1,x\n"


def test_the_inventory_gives_each_gpu_its_place(survey: Path, tmp_path: Path) -> None:
    path = tmp_path / "hosts.csv"
    path.write_text(INVENTORY, encoding="utf-8")
    run = read_run(survey, path)
    found = (
        run.boards[["host", "index", "rack", "slot", "owner"]].astype(object).where(lambda frame: frame.notna(), None).to_numpy().tolist()
    )
    assert found == [
        ["node-000", 0, "A1", "7", "lab"],
        ["node-000", 1, None, None, None],
        ["node-000", 2, "A1", "8", None],
        ["node-001", 0, "B2", "3", "shop"],
        ["node-001", 1, "B2", "3", "shop"],
    ]
    assert run.problems == (f"{path}: 1 of 5 GPUs are not in the inventory, such as host node-000, gpu 1: rack and slot are not known",)


@pytest.mark.parametrize(
    ("gpu", "host", "rack"),
    [
        ("GPU-abcd1234-5", "elsewhere", "U"),
        ("GPU-ffff", "node-7", "H"),
        ("GPU-ffff", "node-7.example.org", "H"),
        ("GPU-ffff", "node-8", None),
    ],
)
def test_a_gpu_is_found_by_uuid_or_by_its_host(tmp_path: Path, gpu: str, host: str, rack: str | None) -> None:
    path = tmp_path / "hosts.csv"
    path.write_text("host,gpu,rack\nnode-7,3,H\nx,GPU-ABCD1234,U\n", encoding="utf-8")
    boards = pd.DataFrame({"gpu": [gpu], "host": [host], "index": [3]})
    assert places(boards, read_inventory(path))[0]["rack"].tolist() == [rack]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ": not a CSV: No columns to parse from file"),
        ("rack,slot\nA,1\n", ":1: no column host, gpu; the columns are host,gpu,rack,slot and others of your own"),
        ("host,gpu,gpu\na,1,2\n", ":1: column 'gpu' is named twice"),
        ("host,gpu,rack\na,1,A\n,2,A\n", ":3: host is empty; name the machine as survey.json does"),
        ("host,gpu\na,1\n\na,first\n", ":4: gpu: 'first' is not an index, a UUID (GPU-…) or empty for every GPU of the host"),
        ("host,gpu\na,1\nb,1\nA,01\n", ":4: host A, gpu 01 is on line 2 already; keep one of them"),
        ("host,gpu\na,1\na,1,2,3\n", ": not a CSV: Error tokenizing data. C error: Expected 2 fields in line 3, saw 4"),
        (b"host,gpu\n\xff,1\n", ": not UTF-8 text"),
    ],
)
def test_a_mistake_in_the_inventory_is_a_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    path = tmp_path / "hosts.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RunError) as refusal:
        read_inventory(path)
    assert str(refusal.value).startswith(f"{path}{words}")
    assert "\n" not in str(refusal.value)


def test_an_inventory_that_does_not_exist_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        read_inventory(tmp_path / "hosts.csv")
