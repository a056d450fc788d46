"""The command line: help that is instant, JSON on stdout, talk on stderr, and exit codes."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from orpheus_clone import doctor
from orpheus_clone.layout import PreparedDir, RunDir
from orpheus_clone.models import BaseModel
from tests.commands import run
from tests.conftest import UNJUDGED
from tests.waiting import eventually

NAMES = (
    "prepare train eval publish promote rollback unpublish serve say clone voices models doctor "
    "bench"
)
UNJUDGING = [part for setting in UNJUDGED for part in ("--set", setting)]
COMMANDS = [[], *([name] for name in NAMES.split(" ")), ["models", "get"]]
HEAVY = ("torch", "transformers", "numpy", "httpx", "fastapi", "vllm", "datasets")
HELP = """
import contextlib, io, sys
from orpheus_clone import cli
for command in {commands!r}:
    sys.argv = ["orpheus-clone", *command, "--help"]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            cli.main()
    except SystemExit as end:
        assert not end.code, command
    assert "Usage:" in printed.getvalue(), command
    heavy = [name for name in {heavy!r} if name in sys.modules]
    assert not heavy, (command, heavy)
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_no_help_page_imports_anything_heavy() -> None:
    done = python(HELP.format(commands=COMMANDS, heavy=HEAVY))
    assert done.returncode == 0, done.stderr


def test_help_lists_every_command_and_the_exit_codes() -> None:
    done = run("--help")
    assert done.code == 0
    for name, *_ in filter(None, COMMANDS):
        assert re.search(rf"\b{name}\b", done.out), name
    assert "70 a bug of ours" in " ".join(done.out.replace("│", " ").split())


def test_the_version_is_printed() -> None:
    assert run("--version").out == "0.1.0\n"


def test_without_a_command_the_help_is_shown() -> None:
    done = run()
    assert done.code == 2
    assert "Usage:" in done.out + done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_made(shell: str) -> None:
    command = Path(sys.executable).with_name("orpheus-clone")
    done = subprocess.run(
        [command],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "_ORPHEUS_CLONE_COMPLETE": f"source_{shell}"},
    )
    assert "_ORPHEUS_CLONE_COMPLETE" in done.stdout


def test_completion_knows_the_commands() -> None:
    command = Path(sys.executable).with_name("orpheus-clone")
    words = {"COMP_WORDS": "orpheus-clone pre", "COMP_CWORD": "1"}
    how = {"_ORPHEUS_CLONE_COMPLETE": "complete_bash", "_TYPER_COMPLETE_TESTING": "1"}
    done = subprocess.run(
        [command], capture_output=True, text=True, check=True, env={**os.environ, **how, **words}
    )
    assert done.stdout.split() == ["prepare"]


def test_models_are_listed(base: BaseModel) -> None:
    listed = {entry["name"]: entry for entry in run("models", "--json").json["models"]}
    assert set(listed) == {"nano", "orpheus-3b"}
    assert listed["nano"]["here"] is True
    assert listed["orpheus-3b"]["here"] is False
    assert "Llama 3.2" in listed["orpheus-3b"]["licence"]
    assert "nano" in run("models").out


def test_a_model_is_described_with_its_digest(base: BaseModel) -> None:
    described = run("models", "get", "nano", "--json").json
    assert described["digest"] == base.digest
    assert (described["path"], described["is_random"]) == (str(base.path), True)


def test_an_unknown_model_is_wrong_usage() -> None:
    done = run("models", "get", "giant")
    assert (done.code, "'giant' is neither a known name (nano, orpheus-3b)" in done.said) == (
        2,
        True,
    )


def test_a_model_that_cannot_be_fetched_says_how_to_get_it() -> None:
    done = run("models", "get", "orpheus-3b")
    assert done.code == 4
    assert "https://huggingface.co/canopylabs/orpheus-3b-0.1-ft" in done.said
    assert "HF_TOKEN" in done.said


def test_doctor_says_what_is_here() -> None:
    done = run("doctor", "--json")
    assert done.code == 0
    checks = {check["name"]: check for check in done.json["checks"]}
    assert {"python", "torch", "vllm", "hardware", "free disk", "base nano"} <= set(checks)
    assert not any(check["is_fatal"] for check in checks.values())
    assert "hardware" in run("doctor").out


def test_doctor_ends_with_7_where_something_that_is_needed_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(doctor._PACKAGES, "no-such-package", "every command needs it")
    monkeypatch.setattr(doctor, "_NEEDED", ("no-such-package",))
    done = run("doctor", "--json")
    assert done.code == 7
    assert done.json["checks"]


def test_a_command_whose_extra_is_not_installed_names_it() -> None:
    code = "import sys; sys.modules['datasets'] = None; sys.argv[1:] = {arguments!r}\n"
    code += "from orpheus_clone.cli import main; main()"
    done = python(code.format(arguments=["train", "nothing", "--out", "x"]))
    assert done.returncode == 4  # it looks for the data first, and that is missing
    code = "import sys; sys.modules['fastapi'] = None; sys.argv[1:] = {arguments!r}\n"
    code += "from orpheus_clone.cli import main; main()"
    done = python(code.format(arguments=["serve", "--base", "nano"]))
    assert done.returncode == 7
    assert "pip install 'orpheus-clone[serve]'" in done.stderr


def test_a_bug_keeps_its_traceback_and_ends_with_70(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(doctor, "examine", broken)
    done = run("doctor", "--json")
    assert (done.code, done.out) == (70, "")
    assert "Traceback" in done.err
    assert "ZeroDivisionError: of all things" in done.err
    assert "a bug of orpheus-clone; please report it" in done.said


def test_prepare_and_train_give_one_json_object_and_talk_on_stderr(
    own_recordings: Path, base: BaseModel, tmp_path: Path
) -> None:
    where = ["--voice", "jack", "--base", "nano", "--out", str(tmp_path / "data"), *UNJUDGING]
    prepared = run("prepare", str(own_recordings), *where, "--json")
    assert (prepared.json["clips"], prepared.json["rejected"]) == (6, 0)
    assert prepared.json["out"] == str(tmp_path / "data")
    assert "prepared" in run("prepare", str(own_recordings), *where).out
    settings = ["--set", "train.epochs=1", "--set", "train.warmup_steps=0"]
    run_dir = str(tmp_path / "run")
    trained = run("train", str(tmp_path / "data"), "--out", run_dir, *settings, "--json")
    assert trained.json["voice"] == "jack"
    assert trained.json["out"] == run_dir
    assert [row["chosen"] for row in trained.json["table"]] == ["chosen"]
    assert RunDir(tmp_path / "run").stamp().adapter_digest == trained.json["adapter_digest"]


def test_a_rejected_recording_is_mentioned_with_where_the_reason_is(
    own_recordings: Path, base: BaseModel, tmp_path: Path
) -> None:
    (own_recordings / "c1.flac").write_bytes(b"not audio")
    where = ["--voice", "jack", "--base", "nano", "--out", str(tmp_path / "data"), *UNJUDGING]
    done = run("prepare", str(own_recordings), *where, "--json")
    assert (done.code, done.json["rejected"]) == (0, 1)
    assert f"1 not kept: the reasons are in {tmp_path / 'data' / 'rejected.jsonl'}" in done.said


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prepare", "no/such/place"], 3, "no/such/place"),
        (["prepare", "HERE", "--set", "prepare.head=3"], 2, "did you mean prepare.head_ms?"),
        (["prepare", "HERE", "--set", "prepare"], 2, "expected key=value"),
        (["prepare", "HERE", "--recipe", "none.yaml"], 2, "none.yaml: no such recipe"),
        (["prepare", "HERE", "--voice", "../up"], 3, "voice name"),
        (["prepare", "HERE", "--voice", "ada"], 3, "stock voice"),
        (["prepare", "HERE", "--transcripts", "none.csv"], 3, "none.csv: no such transcript"),
        (["prepare", "HERE", "--consent", "none.txt"], 3, "none.txt: the consent cannot be read"),
        (["prepare", "HERE", "--base", "giant"], 2, "neither a known name"),
        (["prepare"], 2, "name AUDIO and --voice"),
        (["clone", "HERE", "--engine", "tpu"], 2, "expected one of auto, vllm, hf"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_prepare_cannot_use_is_said_and_nothing_is_printed(
    recordings: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    command = [str(recordings) if word == "HERE" else word for word in arguments]
    defaults = {"--voice": "jack", "--base": "nano", "--out": str(tmp_path / "out")}
    for option, value in defaults.items():
        if option not in command:
            command += [option, value]
    done = run(*command, "--json")
    assert (done.code, done.out) == (code, "")
    assert message in done.said
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["train", "WHERE", "--out", "x"], "run: orpheus-clone prepare"),
        (["eval", "WHERE"], "run: orpheus-clone train"),
        (["publish", "WHERE", "--to", "x"], "run: orpheus-clone train"),
        (["say", "Hi.", "--voice", "jack", "--run", "WHERE"], "run: orpheus-clone train"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_an_earlier_verb_makes_is_named_where_it_is_missing(
    tmp_path: Path, arguments: list[str], hint: str
) -> None:
    where = str(tmp_path / "a-directory-with-a-name-that-is-longer-than-a-line-of-a-terminal-is")
    done = run(*[where if word == "WHERE" else word for word in arguments])
    assert done.code == 4
    assert hint in done.err
    assert where in done.err, "the path is broken by a line's end"


def test_a_loss_that_is_not_a_number_ends_with_5(prepared: PreparedDir, tmp_path: Path) -> None:
    absurd = ["train.learning_rate=1e30", "train.warmup_steps=0", "train.max_grad_norm=1e30"]
    settings = [word for override in absurd for word in ("--set", override)]
    done = run("train", str(prepared.root), "--out", str(tmp_path / "run"), *settings)
    assert done.code == 5
    assert "lower train.learning_rate" in done.said
    assert not (tmp_path / "run" / "run.json").exists()


def test_a_place_that_cannot_be_written_ends_with_7(
    recordings: Path, base: BaseModel, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    out = str(tmp_path / "taken" / "data")
    done = run("prepare", str(recordings), "--voice", "jack", "--base", "nano", "--out", out)
    assert (done.code, "cannot write" in done.said) == (7, True)


def test_eval_gives_the_verdict_and_ends_with_1_when_a_gate_fails(
    run_dir: RunDir, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run_dir.root, tmp_path / "run"))
    cheap = ["prompts=1", "concurrency=1", "max_seconds=0.2", "speed_target=cpu"]
    cheap += ["sweep=[]", "adapters=1"]
    cheap.append("gates.stream_rate_min=1e9")
    settings = [word for override in cheap for word in ("--set", f"eval.{override}")]
    failing = run("eval", str(copy), "--engine", "hf", *settings, "--json")
    assert failing.code == 1
    assert failing.json["verdict"] == "failed"
    gates = {gate["name"]: gate["status"] for gate in failing.json["gates"]}
    assert gates["stream rate P5"] == "failed"
    assert gates["stop rate"] == "not measurable"
    unproven = run(
        "eval", str(copy), "--engine", "hf", *settings, "--set", "eval.gates.stream_rate_min=0.001"
    )
    assert (unproven.code, "unproven; listen:" in unproven.said) == (0, True)
    assert "stream rate" in unproven.out
    refused = run("publish", str(copy), "--to", str(tmp_path / "store"))
    assert (refused.code, "not measurable" in refused.said) == (1, True)


def test_say_speaks_in_a_stock_voice_and_with_a_run(run_dir: RunDir, tmp_path: Path) -> None:
    out = tmp_path / "said.wav"
    where = ["-o", str(out), "--engine", "hf", "--json"]
    said = run("say", "Hello.", "--voice", "jack", "--run", str(run_dir.root), *where)
    assert said.json["output"] == str(out)
    sound, rate = soundfile.read(out)
    assert rate == 24_000
    assert said.json["seconds"] == round(len(sound) / 24_000, 3)
    wrong = run("say", "Hello.", "--voice", "tom", "--run", str(run_dir.root), *where)
    assert (wrong.code, "has learnt the voice 'jack', not 'tom'" in wrong.said) == (3, True)
    stranger = run("say", "Hello.", "--voice", "jack", "--base", "nano", *where)
    assert (stranger.code, "only ada, ben, cleo, dov" in stranger.said) == (3, True)
    mute = run("say", "🙂", "--voice", "ada", "--base", "nano", *where)
    assert (mute.code, "nothing to say" in mute.said) == (3, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "ada.mp3", "--voice", "ada"], "ada.mp3: write to one of *.wav, *.flac"),
        ([], "name the voice: --voice NAME"),
        (["--voice", "ada", "--server", "localhost:8123"], "write http://NODE"),
    ],
)
def test_what_say_cannot_do_is_told_before_anything_is_done(options: list[str], said: str) -> None:
    done = run("say", "Hello.", "--base", "nano", *options)
    assert (done.code, said in done.said) == (2, True)


def test_a_voice_that_orpheus_has_not_is_refused_before_gigabytes_are_fetched() -> None:
    done = run("say", "Hello.", "--voice", "jack")
    assert (done.code, "orpheus-3b has no stock voice 'jack'" in done.said) == (3, True)


def test_a_rollback_in_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    done = run("rollback", "jack", "--to", str(tmp_path / "voices"))
    assert (done.code, "no such store" in done.said) == (4, True)
    assert not (tmp_path / "voices").exists()


@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_a_directory_of_somebody_else_is_left_alone(
    verb: str, prepared: PreparedDir, own_recordings: Path
) -> None:
    before = sorted(own_recordings.iterdir())
    source = [str(own_recordings), "--voice", "jack"] if verb == "prepare" else [str(prepared.root)]
    done = run(verb, *source, "--out", str(own_recordings), "--base", "nano")
    assert (done.code, "name a new or an empty directory" in done.said) == (2, True)
    assert sorted(own_recordings.iterdir()) == before


def test_training_anew_over_another_run_is_said(
    run_dir: RunDir, prepared: PreparedDir, tmp_path: Path
) -> None:
    out = shutil.copytree(run_dir.root, tmp_path / "run")
    recipe = ["--set", "train.epochs=1", "--set", "train.lora.rank=4"]
    done = run("train", str(prepared.root), "--out", str(out), *recipe)
    assert (done.code, "training anew" in done.said) == (0, True)
    assert "training anew" not in run("train", str(prepared.root), "--out", str(out), *recipe).said


def test_say_reads_the_text_from_stdin(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--voice", "ada", "--base", "nano", "--engine", "hf", "-o", str(tmp_path / "a.wav")]
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hello.\n"))
    assert run("say", "-", *where, "--json").json["seconds"] > 0
    monkeypatch.setattr(sys, "stdin", io.StringIO(" \n"))
    nothing = run("say", "-", *where)
    assert (nothing.code, "nothing to say" in nothing.said) == (3, True)


def test_say_through_a_node_and_with_a_run_at_once_is_wrong_usage(run_dir: RunDir) -> None:
    both = ["--server", "http://127.0.0.1:1", "--run", str(run_dir.root)]
    done = run("say", "Hello.", "--voice", "jack", *both)
    assert (done.code, "exclude each other" in done.said) == (2, True)


@pytest.mark.parametrize("command", [["voices"], ["say", "Hi.", "--voice", "jack"]])
def test_a_node_that_is_not_up_ends_with_6(command: list[str]) -> None:
    done = run(*command, "--server", "http://127.0.0.1:1")
    assert (done.code, "is the node up?" in done.said) == (6, True)


def test_a_long_path_is_shown_whole_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, base: BaseModel
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    shown = run("models", "get", "nano").out
    cells = [line.split("│")[2].strip() for line in shown.splitlines() if line.count("│") == 3]
    assert str(base.path) in "".join(cells)
    assert "…" not in shown


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(base: BaseModel, tmp_path: Path) -> None:
    samples = str(Path(__file__).parents[1] / "data_samples")
    command = [
        "prepare",
        samples,
        "--voice",
        "jack",
        "--base",
        "nano",
        "--out",
        str(tmp_path / "d"),
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "orpheus_clone", *command],
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        eventually(lambda: (tmp_path / "d" / "audio").is_dir(), 60, "prepare is at work")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; run the same command again to go on" in said
    assert "Traceback" not in said


def test_every_command_that_a_script_reads_has_json() -> None:
    for command in (c for c in COMMANDS if c):
        assert "--json" in run(*command, "--help").out, command


def test_what_is_printed_as_json_is_read_by_any_parser(base: BaseModel) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for command in (["models", "--json"], ["doctor", "--json"]):
        assert json.loads(run(*command).out, parse_constant=refuse)
