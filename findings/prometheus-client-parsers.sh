#!/usr/bin/env bash
# prometheus_client 0.26.0: no text of a counter with a type and a help is read whole by both of its
# parsers.
#
# One would guess that a careful exporter can write one text for everybody: the same lines for the
# classic format and for OpenMetrics, with `# EOF` behind them, which the classic format takes for a
# comment. What happens: in OpenMetrics the metadata of a counter name the family (`# TYPE steps
# counter`, then `steps_total 3`), and the classic parser yields from that, without an error, a counter
# `steps` that has no sample, and `steps_total`, whose type is unknown and whose help is empty. With
# the metadata on the sample's name (`# TYPE steps_total counter`), as the classic format has it, the
# OpenMetrics parser ends with `Clashing name: steps_total`.
#
# So an exporter has to know who reads: a node exporter's textfile collector takes the classic form.
# Runs both parsers on both texts, in a temporary folder; fails if the behaviour changes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check prometheus_client==0.26.0
"$work/env/bin/python" - <<'PYTHON'
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as classic

def read(parse, text):
    try:
        return [(m.name, m.type, m.documentation, len(m.samples)) for m in parse(text)]
    except ValueError as error:
        return f"ValueError: {error}"

FAMILY = "# HELP steps Steps.\n# TYPE steps counter\nsteps_total 3\n# EOF\n"
SAMPLE = "# HELP steps_total Steps.\n# TYPE steps_total counter\nsteps_total 3\n# EOF\n"
WHOLE = [("steps", "counter", "Steps.", 1)]
EXPECTED = {
    ("on the family", "openmetrics"): WHOLE,
    ("on the family", "classic"): [("steps", "counter", "Steps.", 0), ("steps_total", "unknown", "", 1)],
    ("on the sample", "openmetrics"): "ValueError: Clashing name: steps_total",
    ("on the sample", "classic"): WHOLE,
}
for name, text in (("on the family", FAMILY), ("on the sample", SAMPLE)):
    for way, parse in (("openmetrics", open_metrics), ("classic", classic)):
        found = read(parse, text)
        print(f"metadata {name}, {way:11} {found}")
        assert found == EXPECTED[name, way], f"it changed: expected {EXPECTED[name, way]}"
print("as described: prometheus_client 0.26.0")
PYTHON
