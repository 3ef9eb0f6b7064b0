"""A tool's coroutine, run within the task that waits for it, under a task of its own.

A task of the loop for every call would cost several turns of the loop. So the caller's
task runs the coroutine's steps itself; for the tool, `asyncio.current_task` is the
`CallTask`, from its first step to its last. What a tool cancels is its own call, and
when it is given up and does not end, it goes on under the same task without its caller.

Source: Python 3.11 docs, "Extending", "Task lifetime support", for what a task that is
not asyncio's own has to do.
"""

import asyncio
import contextvars
import traceback
import types
from asyncio import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, NoReturn, TextIO, TypeGuard

from toolkit.loops import release
from toolkit.tracebacks import is_error

Done = Callable[["CallTask"], object]
"""Told of a task that has ended."""


class CallTask:
    """One coroutine of a tool, run by whoever awaits it first, in a task of its loop.

    Who awaits it after that waits for its end. Has what code that runs in a task uses
    of it: `cancel`, `cancelling`, `uncancel`, `done`, names, callbacks. Not safe
    between threads.

    Attributes:
        label: The tool's name, and the call's id.
        steps: How often the coroutine was entered.
        is_ended: Whether it has ended.
        value: What it returned; None while it has not.
        error: What it raised; None while it has not.
        is_stopped: Whether it was given up.
        is_abandoned: Whether the task that awaited it was cancelled.
    """

    # Set on the class: a call needs few of these, and making it has to be cheap.
    error: BaseException | None = None
    is_abandoned = False
    is_ended = False
    is_stopped = False
    steps = 0
    value: Any = None
    _before = 0
    _cancel_message: object = None
    _cancels = 0
    _callbacks: tuple[tuple[Done, contextvars.Context], ...] = ()
    _is_awaited = False
    _must_cancel = False
    _name = ""
    _outer: Any = None
    _proxy: asyncio.Future[None] | None = None
    _waits_for: Any = None

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        on_left: Callable[[asyncio.Task[None]], object],
        label: tuple[str, str],
    ) -> None:
        """Take over a coroutine that has not been started.

        Args:
            coroutine: The tool's.
            loop: The running loop.
            context: In which every step runs.
            on_left: Told the loop's task in which it goes on, when it is given up and
                has not ended.
            label: The tool's name, and the call's id.
        """
        self._coroutine = coroutine
        self._loop = loop
        self._context = context
        self._on_left = on_left
        self.label = label

    # --- running it ------------------------------------------------------------------

    def start(self) -> bool:
        """Run it to where it waits for the first time, in the task that is running.

        Returns:
            Whether it has ended; otherwise it is to be awaited in the same task.
        """
        outer: Any = asyncio.current_task(self._loop)
        self._outer = outer
        self._before = outer.cancelling()
        self._step(outer, None)
        return self.is_ended

    def __await__(self) -> Generator[Any, None, Any]:
        """Run it to its end, or until it or its caller is given up.

        What comes of it is raised: a CancelledError where it was stopped, or its caller
        was cancelled. When whoever awaits it is closed, so is the coroutine.
        """
        if self._is_awaited:
            return self._wait_for_end()
        self._is_awaited = True
        return self._run()

    def _run(self) -> Generator[Any, None, Any]:
        if not self.steps:
            self.start()
        outer, before = self._outer, self._before
        while not self.is_ended:
            if self._waits_for is None and not self._must_cancel:
                error: BaseException | None = None
                try:
                    yield
                except GeneratorExit:
                    self._close()
                    raise
                except BaseException as raised:  # noqa: BLE001 - thrown into the tool
                    error = raised
            else:
                error = yield from self._wait()
            if self.is_stopped or outer.cancelling() > before:
                self._give_up(outer, error)
            if error is None or not self._hand_on(error):
                self._step(outer, error)
        return self.result()

    def _give_up(self, outer: Any, error: BaseException | None) -> NoReturn:  # noqa: ANN401 - a task of any kind
        """Let it take one more step, to end; leave it if it does not."""
        words = error.args[:1] if _is_cancelled(error) else ()
        if outer.cancelling() > self._before:
            self.is_abandoned = True
            self._cancels += 1  # for code in the tool that counts
        waits_for = self._waits_for
        if asyncio.isfuture(waits_for) and not waits_for.done():
            waits_for.cancel(*words)  # it takes its time; its caller does not
            self._leave()
        else:
            self._must_cancel = True  # also when what it waited for ended just now
            self._step(outer, error)
            if not self.is_ended:
                self._leave()
        raise asyncio.CancelledError(*words)

    def _wait_for_end(self) -> Generator[Any, None, Any]:
        """Wait until somebody else has run it to its end."""
        if not self.is_ended:
            running: object = asyncio.current_task(self._loop)
            if running is self:
                text = f"Task cannot await on itself: {self!r}"
                raise RuntimeError(text)
            ended: asyncio.Future[None] = self._loop.create_future()
            self.add_done_callback(lambda _: release(ended))
            yield from ended
        return self.result()

    def stop(self) -> None:
        """Give it up: whoever awaits it goes on at the loop's next turn."""
        if not (self.is_ended or self.is_stopped):
            self.is_stopped = True
            proxy = self._proxy
            if proxy is None:
                self.cancel()
            else:  # what it waits for may take its time; its caller does not
                self._cancels += 1
                release(proxy)

    def _step(self, outer: Any, error: BaseException | None) -> None:  # noqa: ANN401 - a task of any kind
        """Run the coroutine to where it waits next, or to its end."""
        loop = self._loop
        if self._must_cancel:
            self._must_cancel = False
            if not _is_cancelled(error):
                error = _cancelled(self._cancel_message)
        self.steps += 1
        self._waits_for = None
        _leave_task(loop, outer)
        _enter_task(loop, self)  # type: ignore[arg-type]  # it is one of ours
        try:
            if error is None:
                self._waits_for = self._context.run(self._coroutine.send, None)
            else:
                self._waits_for = self._context.run(self._coroutine.throw, error)
        except StopIteration as stop:
            if self._must_cancel:  # it cancelled itself, and then ended
                self._end(None, _cancelled(self._cancel_message))
            else:
                self._end(stop.value, None)
        except BaseException as raised:  # noqa: BLE001 - it is the caller's to see
            self._end(None, raised)
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]  # see above
            _enter_task(loop, outer)

    def _end(self, value: Any, error: BaseException | None) -> None:  # noqa: ANN401 - whatever it returned
        self.is_ended = True
        self.value = value
        self.error = error
        self._outer = None
        callbacks, self._callbacks = self._callbacks, ()
        for fn, context in callbacks:
            self._loop.call_soon(fn, self, context=context)

    def _wait(self) -> Generator[Any, None, BaseException | None]:
        """Wait for what the coroutine waits for; return what to throw into it."""
        waits_for = self._waits_for
        try:
            if waits_for is None:
                yield
            elif not self._can_wait_for(waits_for):
                self._waits_for = None  # it is not for this call to cancel
                yield waits_for  # the loop's task says what is wrong with it
            elif type(waits_for) is asyncio.Future:
                if self._must_cancel:
                    self._must_cancel = not waits_for.cancel(msg=self._cancel_message)
                yield waits_for
            else:
                yield from self._wait_by_proxy(waits_for)
        except GeneratorExit:
            self._close()
            raise
        except BaseException as raised:  # noqa: BLE001 - thrown into the coroutine
            return raised
        return None

    def _can_wait_for(self, waits_for: Any) -> bool:  # noqa: ANN401 - whatever it awaits
        is_awaited = getattr(waits_for, "_asyncio_future_blocking", None)
        return bool(is_awaited) and waits_for.get_loop() is self._loop

    def _wait_by_proxy(self, waits_for: Any) -> Generator[Any, None, None]:  # noqa: ANN401 - a future of any kind
        """Wait for what may go on after it was cancelled, so as to be able to leave."""
        if self._must_cancel and waits_for.cancel(msg=self._cancel_message):
            self._must_cancel = False
        waits_for._asyncio_future_blocking = False  # noqa: SLF001 - the protocol of `await`
        proxy = self._proxy = self._loop.create_future()
        waits_for.add_done_callback(lambda _: release(proxy))
        try:
            yield from proxy
        finally:
            self._proxy = None

    def _hand_on(self, error: BaseException) -> bool:
        """Cancel what it waits for, as asyncio's task does; it is told when that ends.

        Comes up where it is awaited by another `CallTask`, whose caller was cancelled.
        """
        waits_for = self._waits_for
        if not _is_cancelled(error):
            return False
        if not asyncio.isfuture(waits_for) or not waits_for.cancel(*error.args[:1]):
            return False
        waits_for._asyncio_future_blocking = True  # noqa: SLF001 - the protocol of `await`
        return True

    def _close(self) -> None:
        """End it as whoever awaits it is closed, with a loop that will not go on."""
        self.is_ended = True
        self.error = asyncio.CancelledError()
        self._context.run(self._coroutine.close)

    def _leave(self) -> None:
        """Let it go on without its caller, in a task of the loop."""
        name = f"{self.get_name()} (given up)"
        task = self._loop.create_task(self._go_on(), name=name)
        self._on_left(task)

    async def _go_on(self) -> None:
        await self._rest()

    @types.coroutine
    def _rest(self) -> Generator[Any, None, None]:
        outer = asyncio.current_task(self._loop)
        waits_for = self._waits_for
        if asyncio.isfuture(waits_for):
            waits_for._asyncio_future_blocking = True  # noqa: SLF001 - the protocol of `await`
        while not self.is_ended:
            error = yield from self._wait()
            if error is None or not self._hand_on(error):
                self._step(outer, error)

    # --- what code that runs in a task uses of it ------------------------------------

    def cancel(self, msg: object = None) -> bool:
        """Ask it to end, as `asyncio.Task.cancel` does; False when it has ended."""
        if self.is_ended:
            return False
        self._cancels += 1
        waits_for = self._waits_for
        if asyncio.isfuture(waits_for) and waits_for.cancel(msg=msg):
            return True
        self._must_cancel = True
        self._cancel_message = msg
        return True

    def cancelling(self) -> int:
        """Return how often it was asked to end, less what was taken back."""
        return self._cancels

    def uncancel(self) -> int:
        """Take back one such request; return how many are left."""
        if self._cancels > 0:
            self._cancels -= 1
            if self._cancels == 0:
                self._must_cancel = False
        return self._cancels

    def cancelled(self) -> bool:
        """Tell whether it ended as cancelled."""
        return _is_cancelled(self.error)

    def done(self) -> bool:
        """Tell whether it has ended."""
        return self.is_ended

    def result(self) -> Any:  # noqa: ANN401 - whatever it returned
        """Return its value.

        Raises:
            InvalidStateError: It has not ended.
            BaseException: What it raised.
        """
        error = self.exception()
        if error is not None:
            raise error
        return self.value

    def exception(self) -> BaseException | None:
        """Return what it raised, or None.

        Raises:
            InvalidStateError: It has not ended.
            asyncio.CancelledError: It ended as cancelled.
        """
        if not self.is_ended:
            text = "the call has not ended"
            raise asyncio.InvalidStateError(text)
        if _is_cancelled(self.error):
            raise self.error
        return self.error

    def add_done_callback(
        self,
        fn: Done,
        *,
        context: contextvars.Context | None = None,
    ) -> None:
        """Call `fn` with this at the loop's next turn after it has ended."""
        given = contextvars.copy_context() if context is None else context
        if self.is_ended:
            self._loop.call_soon(fn, self, context=given)
        else:
            self._callbacks += ((fn, given),)

    def remove_done_callback(self, fn: Done) -> int:
        """Call `fn` no more; return how often it was to be called."""
        kept = tuple(one for one in self._callbacks if one[0] != fn)
        removed = len(self._callbacks) - len(kept)
        self._callbacks = kept
        return removed

    def get_coro(self) -> Coroutine[Any, Any, Any]:
        """Return the coroutine."""
        return self._coroutine

    def get_context(self) -> contextvars.Context:
        """Return the context in which it runs."""
        return self._context

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return its loop."""
        return self._loop

    def get_name(self) -> str:
        """Return its name."""
        return self._name or "call {1} of tool {0}".format(*self.label)

    def set_name(self, value: object) -> None:
        """Give it another name."""
        self._name = str(value)

    def get_stack(self, *, limit: int | None = None) -> list[types.FrameType]:
        """Return the frame in which it waits, if it does; at most `limit` frames."""
        frame = getattr(self._coroutine, "cr_frame", None)
        frames = [] if frame is None or self.is_ended else [frame]
        return frames[:limit]

    def print_stack(
        self, *, limit: int | None = None, file: TextIO | None = None
    ) -> None:
        """Write where it waits, if it does, to `file`, or to standard error."""
        for frame in self.get_stack(limit=limit):
            traceback.print_stack(frame, limit=1, file=file)

    @property
    def _fut_waiter(self) -> Any:  # noqa: ANN401 - read by anyio, which knows asyncio's
        """What it waits for, under the name it has in asyncio."""
        return self._waits_for

    def __repr__(self) -> str:
        """Name it and the state."""
        state = "ended" if self.is_ended else "running"
        return f"<CallTask {self.get_name()}, {state}>"


def _is_cancelled(error: object) -> TypeGuard[asyncio.CancelledError]:
    """Tell whether an error is a cancellation."""
    return is_error(error, asyncio.CancelledError)


def _cancelled(message: object) -> asyncio.CancelledError:
    return asyncio.CancelledError(*(() if message is None else (message,)))


STEP: Final = CallTask._step.__code__  # noqa: SLF001 - this module's own
"""The code in which tools run, for who looks at threads from outside."""
