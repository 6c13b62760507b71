"""The worker image and the compose file, as far as they can be checked without a Docker engine."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from stepgraph import __version__
from stepgraph.temporal.settings import ENVIRONMENT

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"schema", "namespace"}
LONG_RUNNING = {"postgres", "temporal", "ui", "worker"}


def instructions(name: str) -> list[str]:
    """Return the arguments of every instruction of this name in the Dockerfile, with continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} +(.+)$", text, re.MULTILINE)


def copied() -> set[str]:
    """Return the paths that the Dockerfile copies from the repository."""
    copies = [arguments.split()[:-1] for arguments in instructions("COPY")]
    return {path.rstrip("/") for paths in copies if not paths[0].startswith("--from") for path in paths}


def images() -> set[str]:
    """Return every image that is pulled: those of the compose file, and those that the worker image is built from."""
    stages = [arguments.split() for arguments in instructions("FROM")]
    named = {stage[2] for stage in stages if len(stage) == 3}
    pulled = {service["image"] for service in SERVICES.values() if "image" in service}
    return pulled | {stage[0] for stage in stages if stage[0] not in named}


def environment(service: str) -> dict[str, str]:
    """Return a service's environment when no variable is set outside: the defaults of ${NAME:-default}."""
    values = SERVICES[service]["environment"].items()
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in values}


def version(service: str) -> str:
    """Return the tag of a service's image."""
    return str(SERVICES[service]["image"].partition(":")[2])


def test_the_compose_file_has_the_services_of_a_whole_deployment() -> None:
    """The compose file parses, and has every service from the database to the workers."""
    assert set(SERVICES) == ONE_SHOT | LONG_RUNNING


@pytest.mark.parametrize("image", sorted(images()))
def test_every_image_is_pinned_to_an_exact_version(image: str) -> None:
    """A tag names one release: three numbers, or two for PostgreSQL, whose releases have no third."""
    name, _, tag = image.partition(":")
    numbers = r"\d+\.\d+" if name == "postgres" else r"\d+\.\d+\.\d+"
    assert re.fullmatch(rf"{numbers}(-[a-z-]+)?", tag)


def test_the_schema_tool_has_the_version_of_the_server() -> None:
    """Both are upgraded together, so the server never finds a schema of another version."""
    assert version("schema") == version("namespace") == version("temporal")


@pytest.mark.parametrize(
    ("service", "dependency"),
    [
        ("schema", "postgres"),
        ("temporal", "schema"),
        ("namespace", "temporal"),
        ("ui", "namespace"),
        ("worker", "namespace"),
    ],
)
def test_a_service_waits_until_its_dependency_is_done_or_healthy(service: str, dependency: str) -> None:
    """It waits until a one-shot service has succeeded, or until another service is healthy."""
    condition = "service_completed_successfully" if dependency in ONE_SHOT else "service_healthy"
    assert SERVICES[service]["depends_on"] == {dependency: {"condition": condition}}


@pytest.mark.parametrize("service", sorted(LONG_RUNNING))
def test_a_long_running_service_has_a_health_check_and_is_restarted(service: str) -> None:
    """It starts again after a crash, and after a restart of the machine."""
    assert SERVICES[service]["healthcheck"]["test"][0] == "CMD"
    assert SERVICES[service]["restart"] == "unless-stopped"


@pytest.mark.parametrize("service", sorted(ONE_SHOT))
def test_a_one_shot_service_is_repeated_only_when_it_fails(service: str) -> None:
    """A service that waits for its success would otherwise wait for ever."""
    assert SERVICES[service]["restart"].startswith("on-failure")
    assert "healthcheck" not in SERVICES[service]


@pytest.mark.parametrize("service", ["namespace", "ui", "worker"])
def test_a_client_of_temporal_has_the_servers_address(service: str) -> None:
    """The address has the name of the server's service and the port that it listens on."""
    assert environment(service)["TEMPORAL_ADDRESS"] == "temporal:7233"
    assert SERVICES["temporal"]["healthcheck"]["test"][-1] == "7233"


def test_the_workers_use_the_namespace_that_is_created() -> None:
    """The one-shot service registers the namespace that the workers connect to."""
    assert environment("worker")["TEMPORAL_NAMESPACE"] == environment("namespace")["TEMPORAL_NAMESPACE"]


@pytest.mark.parametrize(
    ("schema", "server"),
    [
        ("SQL_PLUGIN", "DB"),
        ("SQL_HOST", "POSTGRES_SEEDS"),
        ("SQL_PORT", "DB_PORT"),
        ("SQL_USER", "POSTGRES_USER"),
        ("SQL_PASSWORD", "POSTGRES_PWD"),
    ],
)
def test_the_schema_is_set_up_in_the_database_of_the_server(schema: str, server: str) -> None:
    """The schema tool and the server connect to the same database server as the same user."""
    assert SERVICES["schema"]["environment"][schema] == SERVICES["temporal"]["environment"][server]


def test_the_database_accepts_the_servers_user() -> None:
    """The database is created with the user and the password that the server uses."""
    database, server = SERVICES["postgres"]["environment"], SERVICES["temporal"]["environment"]
    assert server["POSTGRES_SEEDS"] == "postgres"
    assert database["POSTGRES_USER"] == server["POSTGRES_USER"]
    assert database["POSTGRES_PASSWORD"] == server["POSTGRES_PWD"]


@pytest.mark.parametrize("name", ["DBNAME", "VISIBILITY_DBNAME"])
def test_each_database_of_the_server_gets_a_schema(name: str) -> None:
    """The set-up script creates both databases that the server is configured with."""
    script = (ROOT / "deploy/setup-schema.sh").read_text()
    assert re.search(rf"^bring_up_to_date {environment('temporal')[name]} ", script, re.MULTILINE)


def test_the_database_outlives_its_container() -> None:
    """PostgreSQL has its data in a named volume, which only an explicit request removes."""
    (volume,) = SERVICES["postgres"]["volumes"]
    name, _, path = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert path == "/var/lib/postgresql/data"


def test_ports_are_open_to_this_machine_only() -> None:
    """The server and the Web UI have no authentication, so they listen on the loopback address."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"temporal": ["127.0.0.1:7233:7233"], "ui": ["127.0.0.1:8080:8080"]}
    assert environment("ui")["TEMPORAL_UI_PORT"] == "8080"


def test_there_are_two_workers() -> None:
    """One worker can stop, or be replaced, while the other goes on."""
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_a_stopping_worker_has_time_to_drain() -> None:
    """The container is killed only some time after the worker has stopped waiting for its nodes."""
    drain = float(environment("worker")["STEPGRAPH_GRACEFUL_SHUTDOWN_SECONDS"])
    grace = float(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace >= drain + 10


def test_every_setting_of_the_workers_exists() -> None:
    """No STEPGRAPH_ name in the image or in the compose file is misspelt or out of date."""
    image = re.findall(r"(\w+)=", " ".join(instructions("ENV")))
    names = {name for name in [*image, *environment("worker")] if name.startswith("STEPGRAPH_")}
    assert "STEPGRAPH_GRAPHS" in names
    assert names <= set(ENVIRONMENT)


def test_the_version_of_the_package_is_that_of_the_project() -> None:
    """`--version` prints the version that the package is built with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__


def test_the_default_graphs_are_examples_of_this_repository() -> None:
    """Each default graph, module:name, is in a file that the image can import."""
    graphs = environment("worker")["STEPGRAPH_GRAPHS"].split(",")
    modules = [graph.partition(":")[0].replace(".", "/") for graph in graphs]
    assert modules
    assert [module for module in modules if not (ROOT / f"{module}.py").is_file()] == []


def test_the_image_runs_a_command_that_the_project_installs() -> None:
    """The container's command and its health check are console scripts of pyproject.toml."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (command,) = instructions("CMD")
    assert yaml.safe_load(command)[0] in scripts
    assert SERVICES["worker"]["healthcheck"]["test"][1] in scripts


def test_the_image_is_built_from_files_of_this_repository() -> None:
    """Every file that the Dockerfile copies or installs from exists."""
    locks = set(re.findall(r"requirements/[\w.]+", (ROOT / "Dockerfile").read_text()))
    assert [path for path in sorted(copied() | locks) if not (ROOT / path).exists()] == []


def test_the_build_context_has_only_the_files_that_are_copied() -> None:
    """.dockerignore excludes everything except what the Dockerfile copies."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied()


@pytest.mark.parametrize("service", ["schema", "temporal", "namespace"])
def test_the_mounted_file_of_a_service_exists(service: str) -> None:
    """The script that a service runs, or the configuration that it reads, is in ./deploy, its only mount."""
    assert SERVICES[service]["volumes"] == ["./deploy:/deploy:ro"]
    words = [*SERVICES[service].get("entrypoint", []), *environment(service).values()]
    (path,) = [word for word in words if word.startswith("/deploy/")]
    assert (ROOT / path.lstrip("/")).is_file()


@pytest.mark.parametrize("script", sorted((ROOT / "deploy").glob("*.sh")), ids=lambda path: path.name)
def test_a_deployment_script_is_executable_and_parses(script: Path) -> None:
    """The shell of its first line parses it without errors."""
    assert script.stat().st_mode & 0o111
    shell = script.read_text().splitlines()[0].removeprefix("#!")
    result = subprocess.run([shell, "-n", script], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
