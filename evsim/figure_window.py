"""A live figure in a window or nowhere, and the redrawing of only what has changed.

A *view* is where a figure is seen: a Window, a page (evsim/figure_page.py), or Nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from evsim.errors import UserError

#: A window answers the mouse and its closing within this time.
WINDOW_EVENTS_S = 0.1


class NoWindowError(UserError):
    """No window can be opened: there is no display, or no GUI toolkit."""


class View(Protocol):
    """Where a live figure is seen.

    `serve` wants to be called every `serve_every_s`, at least.
    """

    figure: Figure
    serve_every_s: float

    def show(self, changing: Iterable[Artist]) -> None:
        """Begin: `changing` are the artists that change from one redraw to the next."""

    def redraw(self) -> None:
        """Show the figure as it is now."""

    def serve(self) -> None:
        """Answer what the person has done."""


class Redrawer:
    """Redraws the changing artists over a kept picture of the rest ("blitting").

    A change of any other artist is noticed, and then the whole figure is drawn.
    """

    def __init__(self, figure: Figure, changing: Iterable[Artist]) -> None:
        self._figure = figure
        self._canvas: Any = figure.canvas  # one of Agg's, which has what blitting takes
        self._changing = sorted(changing, key=lambda artist: artist.get_zorder())
        self._rest: Any = None
        if self._canvas.supports_blit:
            for artist in self._changing:
                artist.set_animated(True)
            self._canvas.mpl_connect("draw_event", self._after_whole_draw)

    def _after_whole_draw(self, _: object) -> None:
        if not self._canvas.is_saving():  # a saved picture has the changing artists in it
            self._rest = self._canvas.copy_from_bbox(self._figure.bbox)
            self._draw_changing()

    def _draw_changing(self) -> None:
        renderer = self._canvas.get_renderer()
        for artist in self._changing:
            artist.draw(renderer)
        # An axis moves its ticks when it is drawn, and these, not animated, make the figure stale.
        self._figure.stale = False

    def redraw(self) -> None:
        """Redraw what has changed."""
        # A change of an animated artist does not make the figure stale; of any other it does.
        if self._rest is None or self._figure.stale:
            self._canvas.draw()
        else:
            self._canvas.restore_region(self._rest)
            self._draw_changing()
            self._canvas.blit(self._figure.bbox)


class Nowhere:
    """Nobody sees the figure until it is saved."""

    serve_every_s = math.inf

    def __init__(self, size_in: tuple[float, float]) -> None:
        self.figure = Figure(figsize=size_in)

    def show(self, changing: Iterable[Artist]) -> None:
        """Nothing to begin."""

    def redraw(self) -> None:
        """Nothing to show."""

    def serve(self) -> None:
        """Nobody does anything."""


class Window:
    """A window, whose events an asyncio program serves; NoWindowError where none can be."""

    serve_every_s = WINDOW_EVENTS_S

    def __init__(
        self, title: str, size_in: tuple[float, float], on_close: Callable[[], None]
    ) -> None:
        # Not at the top: it chooses a back end, and there may be no display to choose one for.
        from matplotlib import pyplot as plt

        try:
            self.figure = plt.figure(title, figsize=size_in)
            if not self.figure.canvas.required_interactive_framework:
                raise ImportError(f"Matplotlib's back end is {mpl.get_backend()}")
        except Exception as error:  # each GUI toolkit raises errors of its own
            raise NoWindowError(f"no window can be opened here ({error})") from error
        self.figure.canvas.mpl_connect("close_event", lambda _: on_close())
        self._pyplot: Any = plt

    def show(self, changing: Iterable[Artist]) -> None:
        """Open the window."""
        self._redrawer = Redrawer(self.figure, changing)
        self._pyplot.show(block=False)

    def redraw(self) -> None:
        """Show the figure as it is now."""
        self._redrawer.redraw()

    def serve(self) -> None:
        """Answer the mouse and the window manager."""
        self.figure.canvas.flush_events()
