"""Asks hosts: many questions at once, to each host with its own manners. Nothing here knows what an image is."""

from __future__ import annotations

import asyncio
import email.utils
import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from rvtool.errors import DataError, RvtoolError, SourceError, WriteError
from rvtool.kinds import Absent, Fatal, Further, Reply, Request, Retry
from rvtool.verbs.collect.hosts import Failed, Host, Question
from rvtool.verbs.collect.politeness import Manners, Outcome, Ticket
from rvtool.verbs.collect.services import Service, origin_of
from rvtool.verbs.collect.shelf import Shelf
from rvtool.verbs.collect.transport import HOPS, Transport, outcome_of, redacted

MOST_STEPS = 8  # requests that one question may lead to
GIVE_UP_S = 600.0  # a host that has not answered well for so long ends the collection
LONGEST_WAIT_S = 3600.0  # a host that asks for more is left for another day
THREADS = 4  # for reading, validating and writing
LIST_DEADLINE_S = 60.0
SMALL = 1 << 20  # bytes; what is larger is read in a thread


class Fetcher:
    """Asks questions until `feed` has no more and all are answered.

    Parameters
    ----------
    services
        All that take part; they say which hosts there are and what is polite to them.
    feed
        Gives the next question, or None where there is none for now.
    cache
        Where replies that many questions share are kept.

    Raises
    ------
    SourceError
        From `run`: a service can answer no request at all, or cannot be reached.
    WriteError
        From `run`: nothing more can be written.
    """

    def __init__(
        self,
        transport: Transport,
        services: Mapping[str, Service],
        settings: Any,
        feed: Callable[[], Question | None],
        cache: Path,
    ) -> None:
        self.transport, self.settings, self.feed = transport, settings, feed
        self.services = services
        self.hosts: dict[str, Host] = {}
        self.requests = 0
        self.draining = False
        self._live = 0  # questions that are not answered yet
        self._busy = 0  # of them, those that are being asked or seen to
        self._shelf = Shelf(cache)
        self._recalls = asyncio.Semaphore(THREADS)  # replies that are shared may be large
        self._detours: dict[str, str] = {}  # from a host that is down to its mirror
        self._tasks: set[asyncio.Task[None]] = set()
        self._ties = count()
        self._finished: asyncio.Future[None] | None = None
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="rvtool")

    # ------------------------------------------------------------------ from outside

    async def run(self) -> None:
        """Ask until everything is answered, or until what is in flight after `drain`."""
        self._finished = asyncio.get_running_loop().create_future()
        try:
            self._refill()
            await self._finished
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._pool.shutdown(wait=True)

    def put(self, question: Question, *, fresh: bool = True) -> None:
        """Ask a question as soon as its host can take it."""
        self._live += fresh
        if question.request.shared and not question.leads:
            key = self._shelf.key(question.request, question.service.actual(question.request.url))
            if (path := self._shelf.path(key)) is not None:
                self._busy += 1
                self._spawn(self._recall(question, path))
                return
            if not self._shelf.leads(key, question):
                return
        self._host(question).put(question)

    def drain(self) -> None:
        """Start no further request; what is in flight is waited for."""
        self.draining = True
        self._done()

    # ------------------------------------------------------------------ hosts

    def _host(self, question: Question) -> Host:
        """Return the host that answers a question now: a mirror, where its own is down."""
        origin = origin_of(question.service.actual(question.request.url))
        origin = self._detours.get(origin, origin)
        if origin not in self.hosts:
            self.hosts[origin] = self._new(origin, question.service)
            self._spawn(self._serve(self.hosts[origin]))
        return self.hosts[origin]

    def _new(self, origin: str, asking: Service) -> Host:
        """Return a new host, with what is polite there: the least that any service allows that lives there."""
        if origin == "file:":
            return Host(origin, THREADS, Manners(1e6, THREADS))
        infos = [s.info for s in self.services.values() if origin_of(s.actual(s.info.base_url)) == origin]
        infos = infos or [asking.info]
        rate = self.settings.max_rate or min(info.max_rate_per_s for info in infos)
        most = self.settings.max_connections or min(info.max_connections for info in infos)
        return Host(origin, most, Manners(rate, most))

    async def _serve(self, host: Host) -> None:
        """Start the questions of one host, each as soon as manners allow."""
        while True:
            host.wake.clear()
            now = time.monotonic()
            host.due(now)
            if not host.ready or self.draining:
                await host.sleep(host.later[0][0] - now if host.later and not self.draining else None)
                continue
            pause = host.manners.wait() if host.in_hand < host.most else None
            if pause is None or pause > 0:
                await host.sleep(pause)
                continue
            host.in_hand += 1
            self._busy += 1
            self._spawn(self._ask(host, host.ready.popleft(), host.manners.started()))

    # ------------------------------------------------------------------ one question

    async def _ask(self, host: Host, question: Question, ticket: Ticket) -> None:
        """Ask once, and see to what comes of it."""
        try:
            reply = await self._fetch(host, question)
            answer = await self._read(question, reply)
            outcome = outcome_of(reply)
            if outcome is Outcome.CLEAN and isinstance(answer, Retry):  # said with words instead of a status
                outcome = Outcome.BAD if answer.after_s is None else Outcome.BUSY
            host.manners.ended(ticket, outcome, answer.after_s if isinstance(answer, Retry) else None)
            host.wake.set()
            if outcome is not Outcome.CLEAN:
                self._unwell(host, question, answer)
            if question.leads and not isinstance(answer, Retry | Fatal | Absent):
                await self._share(question, reply)
            await self._see_to(question, host, reply, answer, outcome)
        finally:
            self._busy -= 1
            host.in_hand -= 1
            host.wake.set()
            self._done()

    async def _fetch(self, host: Host, question: Question) -> Reply:
        url = question.service.actual(question.request.url)
        if (own := origin_of(url)) in self._detours:
            url = host.origin + url[len(own) :]
        deadline_s = host.manners.deadline_s(question.attempt - 1)
        if question.request.shared or question.steps:  # lists and frames take longer than the cutouts that are usual
            deadline_s = max(LIST_DEADLINE_S, deadline_s)
        reply = await self.transport.fetch(self._addressed(question), deadline_s, url)
        hops = int(reply.headers.get(HOPS, 0))
        host.manners.charge(hops)
        self.requests += 1 + hops
        return reply

    def _addressed(self, question: Question) -> Request:
        """Return the request with its pair's address as it really is."""
        request = question.request
        if request.pair is None:
            return request
        return replace(request, pair=replace(request.pair, url=question.service.actual(request.pair.url)))

    async def _read(self, question: Question, reply: Reply) -> Any:
        """Let the source read a reply; what it raises is a fault of the source, and loses no other image."""
        try:
            if len(reply.body) < SMALL:
                return question.read(reply)
            return await asyncio.get_running_loop().run_in_executor(self._pool, question.read, reply)
        except RvtoolError as error:
            return Retry(str(error))
        except Exception as error:  # of a plugin
            return Retry(f"source '{question.service.name}' failed to read the reply: {type(error).__name__}: {error}")

    async def _see_to(self, question: Question, host: Host | None, reply: Reply, answer: Any, outcome: Outcome) -> None:
        """Go on with a question after an answer: ask on, ask again later, or be done with it."""
        match answer:
            case Further():
                question.steps += 1
                leads_home = origin_of(question.service.actual(answer.request.url)) == "file:"
                if leads_home and not question.service.info.base_url.startswith("file:"):
                    self._tell(question, Failed("the service points to a file of this machine"))
                elif question.steps > MOST_STEPS:
                    self._tell(question, Failed(f"the service leads on and on ({MOST_STEPS} steps)"))
                else:
                    question.request = answer.request
                    self.put(question, fresh=False)
            case Retry():
                self._again(question, host, answer, outcome)
            case Fatal():
                self._stop(
                    SourceError(f"Source '{question.service.name}' stopped at {question.name}: {answer.reason}.")
                )
            case Absent():
                self._tell(question, answer)
            case _:
                await self._keep(question, host, reply, answer)

    async def _keep(self, question: Question, host: Host | None, reply: Reply, answer: Any) -> None:
        """Keep a good answer; one that turns out not to be is asked for again, until the same comes twice."""
        try:
            kept = await asyncio.get_running_loop().run_in_executor(self._pool, question.keep, answer, reply)
        except WriteError as error:
            self._stop(error)
            return
        except DataError as error:
            doubt = (str(error), hashlib.sha256(reply.body).hexdigest())
            local = reply.request.url.startswith("file:")
            if local or doubt == question.doubt or (question.doubt[0] == doubt[0] and question.attempt > 2):
                self._tell(question, Failed(str(error)))
                return
            question.doubt = doubt
            self._again(question, host, Retry(str(error)), Outcome.BAD)
            return
        self._tell(question, kept)

    def _again(self, question: Question, host: Host | None, answer: Retry, outcome: Outcome) -> None:
        """Ask again later, as often as is sensible."""
        if outcome is Outcome.BUSY:
            question.refusals += 1
        else:
            question.attempt += 1
        if question.attempt > self.settings.attempts or question.refusals > question.patience:
            self._tell(question, Failed(answer.reason))
            return
        host = host or self._host(question)
        host.retries += 1
        if outcome is Outcome.BUSY:  # the host's own pause says when
            wait_s = answer.after_s or 0.0
        else:
            wait_s = max(answer.after_s or 0.0, host.manners.backoff_s(question.attempt - 2))
        self._host(question).put(question, time.monotonic() + wait_s, next(self._ties))

    def _tell(self, question: Question, answer: Any) -> None:
        """Say what became of a question, and of those that waited for its reply; take up others."""
        for one in (question, *self._shelf.release(question)):
            self._live -= 1
            try:
                one.tell(answer)
            except RvtoolError as error:
                self._stop(error)
                return
        self._refill()

    # ------------------------------------------------------------------ replies that many share

    async def _share(self, question: Question, reply: Reply) -> None:
        """Keep a reply that many questions need, and let those who waited for it go on."""
        if reply.status == 200:
            keep, key = self._shelf.keep, question.leads
            try:
                await asyncio.get_running_loop().run_in_executor(self._pool, keep, key, reply)
            except WriteError as error:
                self._stop(error)
                return
        for other in self._shelf.release(question):
            self.put(other, fresh=False)

    async def _recall(self, question: Question, path: Path) -> None:
        """Answer a question with a reply that was kept; its date is that of the file."""
        try:
            async with self._recalls:
                try:
                    body = await asyncio.get_running_loop().run_in_executor(self._pool, path.read_bytes)
                    date = email.utils.formatdate(path.stat().st_mtime, usegmt=True)
                except OSError:  # somebody has emptied the cache
                    self.put(question, fresh=False)
                    return
                reply = Reply(question.request, 200, {"date": date}, body)
                await self._see_to(question, None, reply, await self._read(question, reply), Outcome.BAD)
        finally:
            self._busy -= 1
            self._done()

    # ------------------------------------------------------------------ the end

    def _unwell(self, host: Host, question: Question, answer: Any) -> None:
        """Turn to a mirror when a host is down; give up where none is well for long, or was ever."""
        own = origin_of(question.service.actual(question.request.url))
        family = (own, *question.service.mirrors(own))
        if host.manners.state == "open":
            for other in family:
                if other != host.origin and (other not in self.hosts or self.hosts[other].manners.state != "open"):
                    self._detours[own] = other
                    moving = [*host.ready, *(entry[2] for entry in host.later)]
                    host.ready.clear()
                    host.later.clear()
                    for waiting in moving:
                        self._host(waiting).put(waiting)
                    return
        known = [self.hosts[origin].manners for origin in family if origin in self.hosts]
        said = f"{redacted(host.origin)} {{}} ({getattr(answer, 'reason', 'no answer')}); {{}}."
        if host.manners.state == "open" and all(manners.never_answered for manners in known):
            self._stop(SourceError(said.format("cannot be reached", "check the network, or give another --base-url")))
        elif min(manners.unclean_s for manners in known) > GIVE_UP_S:
            self._stop(SourceError(said.format("has not answered well for ten minutes", "try again later")))
        elif host.manners.pause_s > LONGEST_WAIT_S:
            hours = f"asks to be left alone for {host.manners.pause_s / 3600:.1f} h"
            self._stop(SourceError(said.format(hours, "go on then")))

    def _refill(self) -> None:
        """Take up questions, as many as keep every host busy."""
        most = 64 + 2 * sum(host.most for host in self.hosts.values())
        while self._live < most and not self.draining and (question := self.feed()) is not None:
            self.put(question)
        self._done()

    def _done(self) -> None:
        over = self._busy == 0 if self.draining else self._live == 0
        if over and self._finished is not None and not self._finished.done():
            self._finished.set_result(None)

    def _stop(self, error: BaseException) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_exception(error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stop(error)
