"""Offers as a master sends them, of agents that are not there. Imported by the benchmarks only."""

from __future__ import annotations

from typing import Any


def offer(number: int) -> dict[str, Any]:
    """A v1 Offer as a master sends it."""
    resources = [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 16.0}, "allocation_info": {"role": "*"}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 65536.0}, "allocation_info": {"role": "*"}},
        {"name": "disk", "type": "SCALAR", "scalar": {"value": 1e6}, "allocation_info": {"role": "*"}},
        {
            "name": "ports",
            "type": "RANGES",
            "ranges": {"range": [{"begin": 31000, "end": 32000}]},
            "allocation_info": {"role": "*"},
        },
    ]
    attributes = [
        {"name": "rack", "type": "TEXT", "text": {"value": f"r{number // 40}"}},
        {"name": "zone", "type": "TEXT", "text": {"value": f"z{number % 3}"}},
        {"name": "disk", "type": "TEXT", "text": {"value": "ssd"}},
        {"name": "generation", "type": "SCALAR", "scalar": {"value": 7.0}},
    ]
    return {
        "id": {"value": f"O{number}"},
        "framework_id": {"value": "F"},
        "agent_id": {"value": f"S{number}"},
        "hostname": f"node{number}.example.com",
        "resources": resources,
        "attributes": attributes,
        "allocation_info": {"role": "*"},
    }
