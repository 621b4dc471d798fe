# SPDX-License-Identifier: Apache-2.0
"""One SVG of the plots of a page that `recurve bench --html_file` wrote, two in a row."""

import pathlib
import re
import sys

WIDTH, HEIGHT = 640, 260  # of a plot, as client/load/plot.cc has it


def picture(page: str) -> str:
    plots = re.findall(r"<svg [^>]*>\n(.*?)</svg>", page, re.DOTALL)
    rows = (len(plots) + 1) // 2
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {rows * HEIGHT}" font-family="sans-serif" '
             'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n']
    for i, plot in enumerate(plots):
        parts.append(f'<g transform="translate({i % 2 * WIDTH} {i // 2 * HEIGHT})">\n{plot}</g>\n')
    return "".join(parts) + "</svg>\n"


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tools.load_report.picture REPORT.html PICTURE.svg")
    pathlib.Path(sys.argv[2]).write_text(picture(pathlib.Path(sys.argv[1]).read_text()))


if __name__ == "__main__":
    main()
