"""Who says what an option is: the nearest goes before, and what is shown of it holds no secret."""

from roujiamo.session.configuration import parse
from roujiamo.session.settings import Configuration, gather

USER = Configuration("/u.toml", tuple(parse("nodes = 1\nmem = 1\nconstraint = 'a==1'\nrole = 'user'")))
SYSTEM = Configuration("/s.toml", tuple(parse("mem = 2\nrole = 'system'\ncpus-per-task = 2\ndisk = 2")))


def test_the_nearest_goes_before() -> None:
    """The command line, the environment, the user's configuration, the system's."""
    settings = gather([USER, SYSTEM], {"ROUJIAMO_NODES": "3", "ROUJIAMO_MEM": "3"}, {"nodes": (4, "--nodes")})
    assert {flag: (value, source) for flag, value, source in settings.shown()} == {
        "--nodes": ("4", "--nodes"),
        "--mem": ("3", "ROUJIAMO_MEM"),
        "--constraint": ("a==1", "/u.toml:3"),
        "--role": ("user", "/u.toml:4"),
        "--cpus-per-task": ("2", "/s.toml:3"),
        "--disk": ("2", "/s.toml:4"),
    }
    assert settings.files == ("/u.toml", "/s.toml")


def test_a_list_is_taken_whole_from_the_nearest() -> None:
    """One could not take anything away from it otherwise."""
    settings = gather([USER], {"ROUJIAMO_CONSTRAINT": "b==2"}, {})
    assert settings.values["constraints"] == ("b==2",)


def test_what_a_program_does_not_read_is_not_read() -> None:
    """Without a wrapper the launcher says how many, and a wrong variable for it is nobody's business."""
    settings = gather([USER], {"ROUJIAMO_NODES": "wrong"}, {}, without=("nodes",))
    assert "nodes" not in settings.values


def test_the_environments_secret_goes_before_a_configurations_file() -> None:
    """And the command line's file before both."""
    file = Configuration("/u.toml", tuple(parse("secret-file = '/f'")))
    environment = {"ROUJIAMO_SECRET": "hush"}
    assert "secret_file" not in gather([file], environment, {}).values
    assert gather([file], environment, {"secret_file": ("/g", "--secret-file")}).values["secret_file"] == "/g"


def test_the_values_of_the_ranks_environment_are_not_shown() -> None:
    """Only which variables there are."""
    settings = gather([], {"ROUJIAMO_ENV": "MINE=hush OTHER"}, {})
    assert settings.shown() == [("--env", "MINE OTHER", "ROUJIAMO_ENV")]
