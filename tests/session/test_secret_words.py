"""What looks like a secret is not shown, wherever in a command line it stands; all else is."""

import shlex

import pytest

from roujiamo.session.secret_words import HIDDEN, line_without_secrets, without_secrets


@pytest.mark.parametrize(
    "words",
    [
        ["-x", "API_TOKEN=hush"],
        ["-genv", "API_TOKEN", "hush"],
        ["DB_PASS=hush"],
        ["--password=hush"],
        ["--db-password=hush=hush"],
        ["--auth-token=hush"],
        ["--api-key=hush"],
        ["--password", "hush"],
        ["--token", "hush", "./a.out"],
        ["zk://me:hush@host:2181/mesos"],
        ["https://me:hush@host/file"],
        ["--url=https://me:hush@host/file"],
        ["s3+http://me:hush@host"],
        ["https://me:hu@hush@host/"],
        ["https://host/file?a=b&access_token=hush"],
        ["https://host/file?X-Amz-Signature=hush&a=b"],
        ["sh", "-c", "export API_TOKEN=hush; ./a.out"],
        ["sh", "-c", "sh -c 'A_KEY=\"hush hush\" ./a.out'"],
        ["sh", "-c", "./a.out --token 'hush hush' x"],
    ],
)
def test_what_looks_like_a_secret_is_not_shown(words: list[str]) -> None:
    """Neither on a screen nor in a record; nor where the words are a shell's line."""
    for shown in (" ".join(without_secrets(words)), line_without_secrets(shlex.join(words))):
        assert "hush" not in shown
        assert HIDDEN in shown


def test_what_does_not_is_shown_as_it_is() -> None:
    """A record that cannot be run again is worth little."""
    words = ["-x", "LD_LIBRARY_PATH=/a", "--map-by", "ppr:2:node", "https://host/f?a=b", "me@host", "PWD=/a"]
    words += [
        "--secret-file",
        "/f",
        "--keymap=de",
        "--passive",
        "x",
        "--tokenizer=y",
        "--token",
        "--next",
        "a' b",
    ]
    assert without_secrets(words) == words
    line = 'cd /a && (PATH=/b:$PATH; export PATH) ; orted -mca ess_base_vpid 1 "1.0;tcp://10.0.0.1:5" \'open'
    assert line_without_secrets(line) == line
    assert line_without_secrets(line + " A_TOKEN=x; y") == line.replace("'open", HIDDEN)
    assert line_without_secrets(f"A_TOKEN=x; {line}") == f"A_TOKEN={HIDDEN}; {line}"


def test_a_long_word_costs_no_more_than_its_length() -> None:
    """The broker reads what others have written."""
    for word in ("a" * 200_000, "key" * 60_000, "a://" * 40_000, "'\"" * 60_000 + " key", "?key&" * 40_000):
        line_without_secrets(word)
        without_secrets([word])
