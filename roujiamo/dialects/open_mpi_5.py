"""Open MPI 5 and PRRTE: the launchers are `prterun` and `prte`, the daemon is `prted`. Pure.

PRRTE reads PRTE_MCA_<name>; it ignores the OMPI_MCA_ forms of its own parameters in the environment (since 5.0.6).
Parameters: `prte_info --all`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roujiamo.dialects.dialect import AGENT, Dialect, LaunchPlan, foreign_hosts
from roujiamo.dialects.mca import parameters
from roujiamo.dialects.open_mpi_4 import (
    HOST_OPTIONS,
    agent_refusal,
    arguments,
    concurrent,
    for_ranks,
    launch_host_refusal,
    port_families,
    port_range,
    short_names_refusal,
    width_refusal,
)


def environment(plan: LaunchPlan) -> Mapping[str, str]:
    """Return the MCA parameters for `plan`."""
    settings = {
        "PRTE_MCA_plm": "ssh",
        # One word: a value with an equals sign in it is cut when it is passed on.
        "PRTE_MCA_plm_ssh_agent": AGENT,
        # Inside a job of another resource manager the hostfile would only filter that one's hosts.
        "PRTE_MCA_ras": "^slurm,pbs,lsf,gridengine,flux,pals",
        "PRTE_MCA_prte_default_hostfile": plan.hostfile,
        "PRTE_MCA_prte_keep_fqdn_hostnames": "1",
        "PRTE_MCA_plm_ssh_num_concurrent": str(concurrent(plan)),
        # Ranks on the launch host would run outside the tasks (open-mpi/ompi issue 13154).
        "PRTE_MCA_rmaps_default_mapping_policy": ":nolocal",
    }
    if not plan.bind:
        settings["PRTE_MCA_hwloc_default_binding_policy"] = "none"
    if plan.network is not None:
        settings["PRTE_MCA_prte_if_include"] = plan.network
    for version in port_families(plan):
        settings[f"PRTE_MCA_oob_tcp_dynamic_ip{version}_ports"] = port_range(plan)
    return {**settings, **for_ranks(plan)}


def refusal(plan: LaunchPlan, words: Sequence[str], variables: Mapping[str, str]) -> str | None:
    """See `Dialect.refusal`."""
    said = parameters(words, {}, "PRTE_MCA_")
    # Open MPI 5 passes the old names on, but only from its command line.
    old = {
        "plm_ssh" + name.removeprefix("plm_rsh"): said[name] for name in said if name.startswith("plm_rsh_")
    }
    values = {**parameters((), {**variables, **environment(plan)}, "PRTE_MCA_"), **old, **said}
    if "rml_base_radix" in values:
        values["routed_radix"] = values["rml_base_radix"]
    return (
        agent_refusal(values, "ssh", ("plm_ssh_agent", "pls_ssh_agent", "prte_ssh_agent"))
        or width_refusal(plan, values, "plm_ssh", "routed_radix")
        or short_names_refusal(plan, values, "prte_keep_fqdn_hostnames")
        or launch_host_refusal(plan)
        or foreign_hosts(plan, words, HOST_OPTIONS)
    )


DIALECT = Dialect(
    name="Open MPI 5",
    versions=(r"\(Open MPI\) [5-9]\.", r"\(PRRTE\)", r"prterun", r"^prte "),
    daemon="prted",
    environment=environment,
    refusal=refusal,
    arguments=arguments,
)
