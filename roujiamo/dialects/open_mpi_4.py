"""Open MPI 2 to 4: ORTE, whose daemon is `orted`. Pure.

Every setting is an MCA parameter in the environment (Open MPI FAQ, "Running MPI jobs": OMPI_MCA_<name>), so what the
user says on mpiexec's command line goes before it. Parameters: `ompi_info --all --level 9`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchPlan, foreign_hosts
from roujiamo.dialects.mca import parameters

# plm_rsh_num_concurrent and routed_radix, as Open MPI has them by itself.
DEFAULT_CONCURRENT = 128
DEFAULT_RADIX = 64

HOST_OPTIONS = ("-H", "-host", "--host")


def environment(plan: LaunchPlan) -> Mapping[str, str]:
    """Return the MCA parameters for `plan`."""
    settings = {
        "OMPI_MCA_plm": "rsh",
        "OMPI_MCA_plm_rsh_agent": AGENT,
        # Inside a job of another resource manager the hostfile would only filter that one's hosts.
        "OMPI_MCA_ras": "^slurm,tm,lsf,gridengine,alps",
        "OMPI_MCA_orte_default_hostfile": plan.hostfile,
        # Names are cut at the first dot otherwise, and two agents may differ only behind it.
        "OMPI_MCA_orte_keep_fqdn_hostnames": "1",
        # More direct children than this is a silent deadlock: attached daemons never free their place.
        "OMPI_MCA_plm_rsh_num_concurrent": str(concurrent(plan)),
        # Without tree spawn the daemons would fork away from their agents, and nobody would hear of their end.
        "OMPI_MCA_orte_leave_session_attached": "1",
        # Ranks on the launch host would run outside the tasks (open-mpi/ompi issue 13154).
        "OMPI_MCA_rmaps_base_no_schedule_local": "1",
    }
    if not plan.bind:
        # The first cores otherwise, the same ones for every job that shares an agent.
        settings["OMPI_MCA_hwloc_base_binding_policy"] = "none"
    if plan.network is not None:
        settings["OMPI_MCA_oob_tcp_if_include"] = plan.network
    for version in port_families(plan):
        settings[f"OMPI_MCA_oob_tcp_dynamic_ip{version}_ports"] = port_range(plan)
    return {**settings, **for_ranks(plan)}


def arguments(plan: LaunchPlan) -> list[str]:
    """Return `--prefix DIR` where the MPI is elsewhere on the hosts (mpirun(1))."""
    return ["--prefix", plan.prefix] if plan.prefix is not None else []


def for_ranks(plan: LaunchPlan) -> dict[str, str]:
    """Return the parameters of Open MPI's own connections between ranks, the same in 4 and 5."""
    settings = {}
    if plan.network is not None:
        settings["OMPI_MCA_btl_tcp_if_include"] = plan.network
    if plan.ports is not None:
        for version in port_families(plan):
            settings[f"OMPI_MCA_btl_tcp_port_min_{version}"] = str(plan.ports[0])
            settings[f"OMPI_MCA_btl_tcp_port_range_{version}"] = str(plan.ports[1] - plan.ports[0] + 1)
    return settings


def port_families(plan: LaunchPlan) -> tuple[str, ...]:
    """Return for which kinds of address the ports are said: none where `launch_host_refusal` says why not."""
    return () if plan.ports is None or launch_host_refusal(plan) else ("v4", "v6")


def port_range(plan: LaunchPlan) -> str:
    """Return the ports as `LOW-HIGH`."""
    assert plan.ports is not None
    return f"{plan.ports[0]}-{plan.ports[1]}"


def launch_host_refusal(plan: LaunchPlan) -> str | None:
    """Refuse ports where the launch host is one of the hosts: mpiexec listens on every port that it is given.

    Nothing is left there for the daemon and the ranks, which would wait for ever (orte/mca/oob/tcp, create_listen).
    """
    here = next((host for host in plan.hosts if host.is_here), None)
    if plan.ports is None or here is None:
        return None
    return (
        f"the mpiexec of Open MPI takes all ports of {port_range(plan)} (--mpi-ports) for itself, so none is left for "
        f"host {here.shown or here.name}, which is this machine; leave --mpi-ports out, or that host"
    )


def concurrent(plan: LaunchPlan) -> int:
    """Return how many agents may run at once, so that no tree of any radix waits for itself."""
    return max(DEFAULT_CONCURRENT, len(plan.hosts) + 1)


def refusal(plan: LaunchPlan, words: Sequence[str], variables: Mapping[str, str]) -> str | None:
    """See `Dialect.refusal`."""
    effective = {**variables, **environment(plan)}
    values = parameters(words, effective, "OMPI_MCA_")
    return (
        agent_refusal(values, "rsh", ("plm_rsh_agent", "orte_rsh_agent", "pls_rsh_agent"))
        or width_refusal(plan, values, "plm_rsh", "routed_radix")
        or short_names_refusal(plan, values, "orte_keep_fqdn_hostnames")
        or launch_host_refusal(plan)
        or foreign_hosts(plan, words, HOST_OPTIONS)
    )


def agent_refusal(values: Mapping[str, str], module: str, names: Sequence[str]) -> str | None:
    """Refuse another way to start daemons than `module` (a component of plm), and another rsh agent than ours."""
    if values.get("plm", module) != module:
        return (
            f"plm is {values['plm']}, so the daemons would not be started in the session's tasks; leave it out, or set "
            f"it to {module}"
        )
    for name in names:
        program = (values.get(name, AGENT).split() or [""])[0]
        if program.rpartition("/")[2] != AGENT:
            return (
                f"{name} is {values[name]}, so the daemons would not be started in the session's tasks; leave it out, "
                f"or set it to {AGENT}"
            )
    return None


def width_refusal(plan: LaunchPlan, values: Mapping[str, str], module: str, radix_name: str) -> str | None:
    """Refuse a tree that is wider than the agents that may run at once: it would wait for itself without a word."""
    limit = _number(values.get(f"{module}_num_concurrent"), concurrent(plan))
    is_flat = is_true(values.get(f"{module}_no_tree_spawn", "0")) or values.get("routed") == "direct"
    radix = _number(values.get(radix_name), DEFAULT_RADIX)
    children = len(plan.hosts) if is_flat else min(len(plan.hosts), radix)
    if children > limit:
        return (
            f"{module}_num_concurrent is {limit} and {children} daemons are to be started from one place: their agents "
            f"stay with them, so the launch would hang; leave it out, or set it to {children} or more"
        )
    return None


def short_names_refusal(plan: LaunchPlan, values: Mapping[str, str], name: str) -> str | None:
    """Refuse names cut at the first dot where two hosts would then have the same: one would get both hosts' ranks."""
    if is_true(values.get(name, "1")):
        return None
    seen: dict[str, str] = {}
    for host in plan.hosts:
        # An address has no short form.
        short = host.name if host.name.replace(".", "").isdecimal() else host.name.partition(".")[0].lower()
        if short in seen:
            return (
                f"{name} is {values[name]}, and {seen[short]} and {host.name} would then have the same name; "
                "leave it out"
            )
        seen[short] = host.name
    return None


def is_true(text: str) -> bool:
    """Read a switch as MCA parameters are read (mca_base_var.c)."""
    return text.strip().lower() in ("1", "true", "yes", "t", "y", "enabled", "on")


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() else default


DIALECT = Dialect(
    name="Open MPI 4",
    versions=(r"\(OpenRTE\)", r"\(Open MPI\) [1-4]\."),
    daemon="orted",
    environment=environment,
    refusal=refusal,
    arguments=arguments,
)
