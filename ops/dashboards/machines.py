"""How soon outputs act and come off, whether inputs and rules are alive."""

from ops.dashboards.building import BAD, GOOD, NODE, NONE_IS_GOOD, RATE, WARN, Board, Query, lines, number, states

_IO = "framemesh_io_signal"
_EDGE = ((None, GOOD), (0.01, WARN), (0.1, BAD))


def _quantile(quantile: float, what: str, *by: str) -> str:
    found = f"increase({_IO}_{what}_seconds_bucket{{{NODE}}}[15m])"
    return f"histogram_quantile({quantile}, sum by ({', '.join((*by, 'le'))}) ({found}))"


BOARD = Board(
    uid="framemesh-machines",
    title="Machines",
    description="How soon do outputs act, do they come off in time, are inputs and rules alive?",
    panels=(
        "Now",
        number(
            "Not safe",
            "Outputs whose state nobody knows: their device does not answer.",
            "none",
            Query(
                f'count(framemesh_resource_state{{{NODE}, kind="signal", state=~"failed|starting"}}) or vector(0)',
                "not safe",
            ),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Switched off",
            "Hosts whose outputs are off for work at the machine.",
            "none",
            Query(f"sum({_IO}_off_mode{{{NODE}}})", "hosts"),
            steps=((None, GOOD), (1, WARN)),
        ),
        number(
            "Command to edge",
            "Slowest hundredth of 15 minutes.",
            "s",
            Query(_quantile(0.99, "command_to_edge"), "p99"),
            steps=_EDGE,
        ),
        number(
            "Too long on",
            "How long after the end of their keep time outputs were off: slowest hundredth of 15 minutes.",
            "s",
            Query(_quantile(0.99, "keep_error"), "p99"),
            steps=_EDGE,
        ),
        number(
            "Inputs lost",
            "Inputs whose device is not listened to.",
            "none",
            Query(f"count({_IO}_input_active{{{NODE}}} == 0) or vector(0)", "lost"),
            steps=NONE_IS_GOOD,
        ),
        number(
            "Hands lost",
            "Times in the last hour that the process that holds the outputs was lost.",
            "none",
            Query(f"sum(increase({_IO}_hand_restarts_total{{{NODE}}}[1h]))", "lost"),
            steps=NONE_IS_GOOD,
        ),
        "Outputs",
        states(
            "States",
            "Of outputs and inputs: a bar for as long as they are in a state.",
            Query(f'framemesh_resource_state{{{NODE}, kind=~"signal|input|rule"}}', "{{kind}} {{id}} {{state}}"),
            width=8,
        ),
        lines(
            "Changes, by cause",
            "A second. `command` and `keep` are usual; `failed`, `bus-lost`, `end` are outputs that were made safe.",
            "cps",
            Query(f"sum by (cause) (rate({_IO}_changes_total{{{NODE}}}[{RATE}]))", "{{cause}}"),
        ),
        lines(
            "Commands, by result",
            "A second: `done`, or the code of the error.",
            "cps",
            Query(f"sum by (result) (rate({_IO}_commands_total{{{NODE}}}[{RATE}]))", "{{result}}"),
        ),
        "How soon",
        lines(
            "Command to edge",
            "From a command's arrival to when the device has it, slowest twentieth of 15 minutes.",
            "s",
            Query(_quantile(0.95, "command_to_edge", "signal"), "{{signal}}"),
        ),
        lines(
            "Capture to edge",
            "From a picture's capture to the edge that it was the reason for, slowest twentieth of 15 minutes.",
            "s",
            Query(_quantile(0.95, "capture_to_edge", "signal"), "{{signal}}"),
        ),
        lines(
            "Event to rule",
            "From an event's arrival to the first command of a rule, slowest twentieth of 15 minutes.",
            "s",
            Query(_quantile(0.95, "rule_delay"), "p95"),
        ),
        "Inputs and rules",
        lines(
            "Events of inputs",
            "A second.",
            "cps",
            Query(f"sum by (input) (rate({_IO}_input_events_total{{{NODE}}}[{RATE}]))", "{{input}}"),
        ),
        lines(
            "Rules",
            "Events that a rule acted on, and actions that failed, a second.",
            "cps",
            Query(f"sum by (rule) (rate({_IO}_rule_fired_total{{{NODE}}}[{RATE}]))", "{{rule}}"),
            Query(f"sum by (rule) (rate({_IO}_rule_failed_actions_total{{{NODE}}}[{RATE}]))", "{{rule}} failed"),
        ),
        lines(
            "Left out",
            "What inputs delivered and was no event, and events that rules did not act on, by reason, a second.",
            "cps",
            Query(
                f"sum by (input, reason) (rate({_IO}_input_left_out_total{{{NODE}}}[{RATE}])) > 0 or vector(0)",
                "{{input}} {{reason}}",
            ),
            Query(
                f"sum by (rule, reason) (rate({_IO}_rule_left_out_total{{{NODE}}}[{RATE}])) > 0 or vector(0)",
                "{{rule}} {{reason}}",
            ),
        ),
    ),
)
