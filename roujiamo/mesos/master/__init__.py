"""A Mesos master's state, as the local cluster's server keeps it. Pure code: the clock and randomness are arguments.

Used by the local cluster's masters only. What it answers is what a recorded Mesos 1.11 answered.

    http_api          one HTTP request in, one response out
      authentication    who may call
      scheduler_calls   a framework's calls (POST /api/v1/scheduler), their checks in the master's order
        messages          JSON to the messages that the APIs know (schema), errors word for word
        validation        what a framework and a task must look like
        frameworks        SUBSCRIBE, disconnection, failover timeout, teardown
        accepting         ACCEPT and DECLINE
        offers            the allocator: who is offered which agent, filters, RESCIND
        tasks             status updates with retries, KILL, RECONCILE
      maintenance       the operator's schedule, and inverse offers
      machines          machines that are taken down for it, and brought up again
      operator_calls    an operator's calls (POST /api/v1)
      views             the read endpoints: /state, /slaves, /frameworks, /tasks, ...
      quota             how much a role may use at most
    agents            agents that come, go silent and go; pings
    reregistration    agents that come back, also to a master that knows nothing
    state             the records, the timers, and the actions that the server has to do
    quantities        resources and their arithmetic
"""
