"""Grafana's JSON for the dashboards; what is on them stands in ``panels``."""

import json
from typing import Any

from charts import panels

_HEIGHT = 7
_WHOLE = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SELECTION = 'namespace=~"$namespace", pod=~"$pod"'

# File, title, unique id in Grafana, a metric that every pod in question has, the rows.
BOARDS: tuple[tuple[str, str, str, str, tuple[panels.Row, ...]], ...] = (
    ("relays.json", "Waystation: relays", "waystation-relays", "waystation_ready", panels.RELAYS),
    (
        "operator.json",
        "Waystation: operator",
        "waystation-operator",
        "waystation_operator_leader",
        panels.OPERATOR,
    ),
)


def texts() -> dict[str, str]:
    """File name → its whole text."""
    return {
        file: json.dumps(_board(title, uid, metric, rows), indent=1, ensure_ascii=False) + "\n"
        for file, title, uid, metric, rows in BOARDS
    }


def _board(title: str, uid: str, metric: str, rows: tuple[panels.Row, ...]) -> dict[str, Any]:
    return {
        "title": title,
        "uid": uid,
        "tags": ["waystation", "mail"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables(metric)},
        "panels": _panels(rows),
    }


def _variables(metric: str) -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return [
        source,
        _choice("namespace", "Namespace", f"label_values({metric}, namespace)"),
        _choice("pod", "Pod", f'label_values({metric}{{namespace=~"$namespace"}}, pod)'),
    ]


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panels(rows: tuple[panels.Row, ...]) -> list[dict[str, Any]]:
    """Rows below one another; in each, panels from left to right, wrapped where the width is used up."""
    made: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": _WHOLE, "h": 1}
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        top, left = top + 1, 0
        for panel in row.panels:
            if left + panel.width > _WHOLE:
                top, left = top + _HEIGHT, 0
            place = {"x": left, "y": top, "w": panel.width, "h": _HEIGHT}
            made.append({"id": len(made) + 1, "gridPos": place, **_panel(panel)})
            left += panel.width
        top += _HEIGHT
    return made


def _panel(panel: panels.Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + n),
                "datasource": _SOURCE,
                "expr": query.expr.replace("$pod", _SELECTION),
                "legendFormat": query.legend,
            }
            for n, query in enumerate(panel.queries)
        ],
    }
