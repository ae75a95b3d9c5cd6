"""`grove validate`: what is wrong is said where it is, in three stages, and the exit code says so too."""

import json
from typing import Any

import pytest

from grove.caches.local_lmdb import Handler as LmdbCache
from tests.cli.shell import Shell
from tests.servers import free_port

CANARY = "canary-5a1e"


def write(shell: Shell, name: str, text: str) -> str:
    path = shell.root / "conf" / name
    path.write_text(text)
    return str(path)


def codes(shell: Shell, *arguments: str) -> list[str]:
    done = shell.run("validate", "--json", *arguments)
    assert done.code == (78 if done.json["problems"] else 0), done.err
    return [problem["code"] for problem in done.json["problems"]]


def test_what_is_right_is_said_to_be(shell: Shell) -> None:
    shell.document("one")
    write(
        shell,
        "two.yaml",
        "name: two\nidentity: x\nconnector: local_heartbeat\n---\n{disabled: true, name: three, "
        "identity: y, connector: local_heartbeat}\n",
    )
    done = shell.run("validate")
    assert (done.code, done.out, done.err) == (0, "3 documents: nothing is wrong.\n", "")
    done = shell.run("validate", "--offline")
    assert done.out == "3 documents: nothing is wrong. Secrets, output and cache were not asked.\n"
    assert shell.run("validate", "--json").json == {
        "documents": 3,
        "offline": False,
        "exit_code": 0,
        "problems": [],
    }


def test_a_line_is_shown_with_a_mark_and_a_way_on(shell: Shell) -> None:
    path = write(shell, "a.yaml", f"name: a\nidentity: x\nconnector: okta_users\nkye: {CANARY}\nfrequency: soon\n")
    done = shell.run("validate", path)
    assert done.code == 78
    assert (
        done.out
        == f"""\
{path}:3:1: missing-credential: There is no credential; this connector needs `key`.
  3 | connector: okta_users
    | ^^^^^^^^^
    = help: Say in `secrets` where it lies: {{"key": "..."}}.

{path}:4:1: unknown-field: Nothing uses the field 'kye'.
  4 | kye: ***
    | ^^^
    = help: Did you mean 'key'?

{path}:5:12: wrong-type: The field 'frequency' has to be a whole number, and is a text.
  5 | frequency: soon
    |            ^^^^

3 problems, 1 document.
"""
    )
    assert done.err == ""


def test_programs_get_the_same(shell: Shell) -> None:
    path = write(shell, "a.yaml", "name: a\nidentity: x\nconnector: local_hartbeat\n")
    assert shell.run("validate", "--json").json["problems"] == [
        {
            "source": path,
            "line": 3,
            "column": 12,
            "code": "unknown-connector",
            "message": "There is no connector 'local_hartbeat'.",
            "help": "Did you mean 'local_heartbeat'?",
            "field": "connector",
            "document": "a",
        }
    ]
    done = shell.run("validate", "--format", "github")
    assert done.code == 78
    assert done.out.splitlines()[0] == (
        f"::error file={path},title=grove%3A unknown-connector,line=3,col=12::"
        "There is no connector 'local_hartbeat'. Did you mean 'local_heartbeat'?"
    )


def test_a_terminal_gets_colours_and_a_pipe_none(shell: Shell) -> None:
    write(shell, "a.yaml", "name: a\nidentity: x\nconnector: local_hartbeat\n")
    shown = shell.terminal("validate", "--offline")
    assert "\x1b[31m^" in shown.out
    assert "unknown-connector" in shown.plain
    assert "\x1b" not in shell.run("validate", "--offline").out


def test_paths_take_the_place_of_the_configuration(shell: Shell) -> None:
    write(shell, "broken.json", "{")
    other = shell.root / "other"
    other.mkdir()
    (other / "a.yml").write_text("name: a\nidentity: x\nconnector: local_heartbeat\n")
    assert codes(shell, "--offline", str(other)) == []
    assert codes(shell, "--offline", str(other), str(shell.root / "conf")) == ["bad-json"]
    assert codes(shell, "--offline", str(other / "a.yml")) == []
    missing = shell.run("validate", str(other / "nothing.json"))
    assert (missing.code, "does not exist" in missing.err) == (2, True)


def test_nothing_to_look_at_is_a_problem(shell: Shell) -> None:
    assert codes(shell) == ["no-document"]
    del shell.environment["GROVE_CONFIG_LOCAL_FILE_PATH"]
    done = shell.run("validate")
    assert done.code == 78
    assert "GROVE_CONFIG_LOCAL_FILE_PATH is not set" in done.out
    assert "grove init" in done.out


# --- between documents ---


def test_documents_with_one_state_and_with_one_name_are_placed(shell: Shell) -> None:
    head = "connector: local_heartbeat\ncount: 1\ninterval: 0\n"
    path = write(shell, "a.yaml", f"name: a\n{head}identity: x\n---\nname: b\n{head}identity: x\n")
    write(shell, "b.yaml", f"name: a\n{head}identity: y\n")
    shared, named = shell.run("validate", "--offline", "--json").json["problems"]
    assert (shared["code"], shared["line"], shared["column"], shared["document"]) == ("shared-state", 11, 11, "b")
    assert f"{path}:5:11" in shared["help"]
    assert (named["code"], named["source"], named["line"]) == ("duplicate-name", path.replace("a.yaml", "b.yaml"), 1)
    assert f"{path}:1:7" in named["help"]
    done = shell.run("run", "--json")
    assert done.code == 78
    assert [problem for problem in done.json["problems"] if "one pointer" in problem]


# --- plugins and settings ---


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("GROVE_OUTPUT_HANDLER", "local_flie", "unknown-output"),
        ("GROVE_OUTPUT_HANDLER", "local_file,nothing", "unknown-output"),
        ("GROVE_CACHE_HANDLER", "local_lmbd", "unknown-cache"),
        ("GROVE_SECRET_HANDLER", "vault", "unknown-secret"),
    ],
)
def test_a_setting_that_names_no_plugin_is_one_problem(shell: Shell, variable: str, value: str, code: str) -> None:
    shell.document("one", secrets={"key": "/dev/null"} if "SECRET" in variable else {})
    shell.environment[variable] = value
    assert codes(shell) == codes(shell, "--offline") == [code]


def test_a_wrong_setting_is_a_problem(shell: Shell) -> None:
    shell.environment["GROVE_WORKER_COUNT"] = "many"
    done = shell.run("validate", "--json")
    assert (done.code, done.json["problems"][0]["code"]) == (78, "setting")
    assert "GROVE_WORKER_COUNT is 'many'" in done.json["problems"][0]["message"]


# --- what lies outside ---


def test_secrets_are_fetched_and_never_shown(shell: Shell) -> None:
    (shell.root / "token").write_text(CANARY)
    shell.environment["GROVE_SECRET_HANDLER"] = "local_file"
    shell.document("one", connector="okta_users", secrets={"key": str(shell.root / "token")}, count=0)
    path = write(
        shell,
        "two.yaml",
        "name: two\nidentity: x\nconnector: okta_users\nsecrets:\n"
        f"  key: {shell.root}/nowhere\n  domain: {shell.root}/token\n",
    )
    done = shell.run("validate", "--json")
    found = [(problem["code"], problem["source"], problem["line"]) for problem in done.json["problems"]]
    assert found[-1] == ("missing-secret", path, 5)
    assert "nowhere" in done.json["problems"][-1]["help"]
    assert CANARY not in done.out + done.err + shell.run("validate").out
    assert "missing-secret" not in codes(shell, "--offline")


def test_secrets_need_a_store(shell: Shell) -> None:
    path = write(shell, "a.yaml", "name: a\nidentity: x\nconnector: okta_users\nsecrets: {key: token}\n")
    (problem,) = shell.run("validate", "--offline", "--json").json["problems"]
    assert (problem["code"], problem["source"], problem["line"]) == ("missing-secret-store", path, 4)
    assert "GROVE_SECRET_HANDLER" in problem["message"]


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ({"GROVE_OUTPUT_LOCAL_FILE_PATH": "/nowhere"}, "output", "GROVE_OUTPUT_LOCAL_FILE_PATH is '/nowhere'"),
        (
            {"GROVE_OUTPUT_HANDLER": "remote_http", "GROVE_OUTPUT_REMOTE_HTTP_URL": "http://127.0.0.1:PORT/x"},
            "output",
            "127.0.0.1:PORT does not answer",
        ),
        (
            {"GROVE_OUTPUT_HANDLER": "kafka", "GROVE_OUTPUT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:PORT"},
            "output",
            "127.0.0.1:PORT does not answer",
        ),
        ({"GROVE_CACHE_LOCAL_LMDB_PATH": "/proc/nowhere"}, "cache", "/proc/nowhere"),
    ],
    ids=["no directory", "http", "kafka", "no state"],
)
def test_an_output_and_a_cache_are_tried(shell: Shell, settings: dict[str, str], code: str, words: str) -> None:
    port = str(free_port())
    shell.document("one")
    shell.environment |= {name: value.replace("PORT", port) for name, value in settings.items()}
    (problem,) = shell.run("validate", "--json").json["problems"]
    assert problem["code"] == code
    assert words.replace("PORT", port) in problem["message"]
    assert codes(shell, "--offline") == []


def test_a_cache_is_left_as_it_was(shell: Shell) -> None:
    shell.document("one")
    assert codes(shell) == []
    # An output marks its directory as its own.
    assert [path.name for path in (shell.root / "out").iterdir()] == [".grove-output"]
    assert [pk for pk, _ in LmdbCache(str(shell.root / "state")).scan("")] == []


# --- the mistakes of a first day, with `grove` itself ---


MISTAKES: dict[str, tuple[str, str, str]] = {
    "broken JSON": ("a.json", '{"name": "a"\n "identity": "x"}', "a.json:2:2: The document is not valid JSON"),
    "unknown connector": (
        "a.yaml",
        "name: a\nidentity: x\nconnector: okta_sytem_log\n",
        "a.yaml:3:12: There is no connector 'okta_sytem_log'. Did you mean 'okta_system_log'?",
    ),
    "wrong type": (
        "a.yaml",
        "name: a\nidentity: x\nconnector: local_heartbeat\nfrequency: soon\n",
        "a.yaml:4:12: The field 'frequency' has to be a whole number, and is a text.",
    ),
    "missing field": (
        "a.yaml",
        "name: a\nconnector: local_heartbeat\n",
        "a.yaml:1:1: The field 'identity' is missing.",
    ),
}


@pytest.mark.parametrize(("name", "text", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_said_with_its_place_wherever_it_is_met(shell: Shell, name: str, text: str, words: str) -> None:
    shell.document("good")
    write(shell, name, text)
    for done in (shell.run(), shell.run("run")):
        assert done.code == 78, done.err
        assert words in " ".join(line["detail"].get("exception", "") for line in logs(done.err))
        assert "Traceback" not in done.err
    shown = shell.terminal()
    assert shown.code == 78
    assert words.partition(": ")[2] in " ".join(shown.plain.split())
    done = shell.run("validate")
    assert done.code == 78
    assert words.partition(": ")[2].split(". Did")[0] in done.out


def test_a_misspelt_field_is_warned_about_by_a_run(shell: Shell) -> None:
    shell.document("good", frequncy=1)
    done = shell.run()
    assert done.code == 0
    assert "Nothing uses the field 'frequncy'. Did you mean 'frequency'?" in done.err
    assert codes(shell) == ["unknown-field"]


def test_no_configuration_path(shell: Shell) -> None:
    del shell.environment["GROVE_CONFIG_LOCAL_FILE_PATH"]
    for arguments in ([], ["validate"]):
        shown = shell.terminal(*arguments)
        assert shown.code == 78
        text = " ".join(shown.plain.split())
        assert "GROVE_CONFIG_LOCAL_FILE_PATH is not set. Set GROVE_CONFIG_LOCAL_FILE_PATH to the directory" in text
        assert "`grove init`" in text


def test_a_missing_secret_names_document_and_field(shell: Shell) -> None:
    shell.environment["GROVE_SECRET_HANDLER"] = "local_file"
    shell.document("bad", secrets={"key": "/nowhere"})
    done = shell.run()
    assert done.code == 1
    assert "field 'key' of 'bad'" in done.err
    assert "bad.json:1:" in done.err
    assert codes(shell) == ["missing-secret"]


def logs(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_other_files_are_no_documents(shell: Shell) -> None:
    shell.document("good")
    write(shell, "README.md", "{")
    write(shell, ".hidden.yaml", "{")
    assert codes(shell, "--offline") == []
