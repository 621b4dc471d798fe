# SPDX-License-Identifier: Apache-2.0
"""The measurements of loss.py as an SVG picture: a panel a scope, a line a policy."""

COLORS = {"window": "#3b6fb6", "attention": "#c0562a", "router": "#3f8f4f"}
SHARES = ("1/2", "1/4", "1/8")
WIDTH, HEIGHT, GAP, LEFT, TOP = 190, 190, 20, 20, 50


def panel(name, by_policy, x0):
    """One panel with a scale of its own; by_policy: loss above that without a budget, by policy and
    share."""
    values = [loss for losses in by_policy.values() for loss in losses.values()]
    low, high = min(0.0, *values), max(1e-4, *values)

    def x(share):
        return x0 + 25 + SHARES.index(share) * (WIDTH - 50) / 2

    def y(loss):
        return TOP + HEIGHT - 12 - (loss - low) / (high - low) * (HEIGHT - 40)

    parts = [f'<rect x="{x0}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>',
             f'<text x="{x0 + WIDTH / 2}" y="{TOP - 8}" text-anchor="middle">{name}</text>']
    for share in SHARES:
        parts.append(f'<text x="{x(share)}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{share}</text>')
    for level in (0.0, high):
        parts.append(f'<line x1="{x0}" x2="{x0 + WIDTH}" y1="{y(level):.1f}" y2="{y(level):.1f}" '
                     'stroke="#ddd"/>')
        parts.append(f'<text x="{x0 + 4}" y="{y(level) - 3:.1f}" fill="#777" font-size="10">'
                     f'{level:+.4f}</text>')
    for policy, losses in by_policy.items():
        points = " ".join(f"{x(s):.1f},{y(losses[s]):.1f}" for s in SHARES)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLORS[policy]}" stroke-width="2"/>')
        for share in SHARES:
            parts.append(f'<circle cx="{x(share):.1f}" cy="{y(losses[share]):.1f}" r="3" '
                         f'fill="{COLORS[policy]}"/>')
    return parts


def svg(records):
    """The picture of one run's records."""
    exact = next(r["loss"] for r in records if r["policy"] == "none")
    panels = {}
    for r in records:
        if r["policy"] != "none":
            by_policy = panels.setdefault(r["groups"], {})
            by_policy.setdefault(r["policy"], {})[r["share"]] = r["loss"] - exact
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>']
    for i, (name, by_policy) in enumerate(panels.items()):
        parts += panel(name, by_policy, LEFT + i * (WIDTH + GAP))
    x = LEFT
    for policy, color in COLORS.items():
        parts.append(f'<rect x="{x}" y="{height - 22}" width="12" height="12" fill="{color}"/>')
        parts.append(f'<text x="{x + 18}" y="{height - 12}">{policy}</text>')
        x += 100
    parts.append(f'<text x="{x + 20}" y="{height - 12}">nats a token more than without a budget (scales differ), by the share '
                 'of the entries that is allowed</text>')
    return "\n".join([*parts, "</svg>", ""])
