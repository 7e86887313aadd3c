"""Sessions: commands, container logs and checks of libraries that a client asked for, carried over a channel.

Each session has its own connections to Redis and two threads, because both directions wait.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from redis import RedisError

from common.channel import WorkerEnd
from common.contract import Contract
from common.errors import ChannelClosed, ChannelFull, DCloudError, NotFound
from common.ledger import client_of
from common.states import State
from workers import outcomes
from workers.checks import check
from workers.engine import LogStream
from workers.member import Member
from workers.provision import Exec

log = logging.getLogger(__name__)

MAX_SESSIONS = 64
MAX_OF_ONE = 16  # owner's, so that nobody shuts the others out
ENDING_SECONDS = 1.0  # for the engine to say how a command ended whose output has
MAX_CHECKS = 4  # at the same time: each takes a core for as long as the resolver thinks


class Sessions:
    """The sessions of this host."""

    def __init__(self, member: Member):
        self.member = member
        self._slots = threading.BoundedSemaphore(MAX_SESSIONS)
        self._checks = threading.BoundedSemaphore(MAX_CHECKS)
        self._owners: Counter[str] = Counter()
        self._mutex = threading.Lock()
        # decodes nothing: a session carries bytes; the timeout is above the channel's own waiting
        self._redis = client_of(member.settings.redis_url, decode=False, timeout_seconds=10)

    def open(self, text: str) -> None:
        """Begin what a request of the control list asks for, in a thread of its own."""
        try:
            request = json.loads(text)
            if self._redis.time()[0] > request["before"]:
                return
            end = WorkerEnd(self._redis, self.member.ledger.keys, request)
        except (ValueError, KeyError, TypeError):
            log.warning("a request that cannot be read: %.200s", text)
            return
        if not self._slots.acquire(blocking=False):
            end.error(f"This host has {MAX_SESSIONS} open sessions. Close one and try again.")
            return
        threading.Thread(target=self._serve, args=(end,), name="session", daemon=True).start()

    def _serve(self, end: WorkerEnd) -> None:
        try:
            self._answer(end)
        except RedisError as error:  # the channel went with it, and its client finds out by itself
            log.warning("a session ended: %s", error)
        finally:
            self._slots.release()

    def _answer(self, end: WorkerEnd) -> None:
        try:
            if end.request["op"] == "check":
                self._check_libraries(end)
                return
            with self._one_of(self._owner(end.request["env"])):
                if end.request["op"] == "exec":
                    self._exec(end)
                else:
                    self._logs(end)
        except ChannelClosed:
            pass  # the client has gone
        except DCloudError as error:
            end.error(str(error))
        except RedisError:
            raise
        except Exception:
            log.exception("a session broke")
            end.error("The session broke on the host. Try again; the worker's log has the details.")

    def _owner(self, env_id: str) -> str:
        environment = self.member.ledger.get(env_id)
        if environment.host != self.member.name or environment.state is not State.RUNNING:
            raise NotFound(f"It is {environment.state}; only a running environment can be entered.")
        return environment.owner

    @contextmanager
    def _one_of(self, owner: str) -> Iterator[None]:
        """One session more of an owner's environments. Raises ChannelFull."""
        with self._mutex:
            if self._owners[owner] >= MAX_OF_ONE:
                raise ChannelFull(f"You have {MAX_OF_ONE} open sessions on this host. Close one and try again.")
            self._owners[owner] += 1
        try:
            yield
        finally:
            with self._mutex:
                self._owners[owner] -= 1
                self._owners = +self._owners

    def _exec(self, end: WorkerEnd) -> None:
        request = end.request
        running = self.member.host.exec(request["env"], request["command"], request["tty"])
        try:
            if request["tty"] and request.get("rows"):
                running.resize(request["rows"], request["cols"])
            end.opened()
            passed = _Passed(self.member.settings.session_idle_seconds if request["tty"] else 0)
            carried = (end, running, passed)
            threading.Thread(target=self._carry_input, args=carried, name="session-input", daemon=True).start()
            data = running.read()
            if refused := outcomes.unstarted(running, request["command"][0], data):
                _say(end, refused[0])
                end.exit(refused[1])
                return
            while data:
                passed.now()
                end.send(data)
                data = running.read()
            if passed.too_long_ago():
                end.error(passed.words)
                return
            code = running.wait(ENDING_SECONDS)
            code = 1 if code is None else code  # it goes on without us; nobody can follow it any more
            if words := outcomes.farewell(running, code):
                _say(end, words)
            end.exit(code)
        finally:
            running.close()

    def _carry_input(self, end: WorkerEnd, running: Exec, passed: _Passed) -> None:
        try:
            while not passed.too_long_ago():
                for said in end.receive():
                    passed.now()
                    if said.kind == "close":
                        return
                    if said.kind == "resize":
                        running.resize(said.rows, said.cols)
                    else:
                        running.write(said.data)
        except (ChannelClosed, OSError, DCloudError, RedisError):
            return
        finally:
            running.close()

    def _logs(self, end: WorkerEnd) -> None:
        request = end.request
        follow = bool(request.get("follow"))
        since, timestamps = request.get("since", ""), bool(request.get("timestamps"))
        log = self.member.host.logs(request["env"], int(request.get("tail", 1000)), follow, since, timestamps)
        end.opened()
        ended = threading.Event()
        broken: list[Exception] = []
        reader = threading.Thread(target=_carry_log, args=(end, log, ended, broken), name="session-log", daemon=True)
        reader.start()
        try:
            # a container may be silent for days: only this sees that the client has gone, and lets it see us
            while follow and not ended.is_set():
                end.receive()
            reader.join()
        finally:
            log.close()
        for error in broken:
            raise error
        end.exit(0)

    def _check_libraries(self, end: WorkerEnd) -> None:
        """One JSON object, as `workers.checks.Checked` has it. It ends where the client does not wait any more."""
        if not self._checks.acquire(blocking=False):
            end.error("This host has other libraries to check. Try again in a moment.")
            return
        try:
            contract = Contract.from_dict(end.request["contract"])
            end.opened()
            found = check(self.member.host, contract, lambda: _hear(end))
            end.send(json.dumps(found.to_dict()).encode())
            end.exit(0)
        finally:
            self._checks.release()


class _Passed:
    """When something last passed a session, either way."""

    def __init__(self, limit_seconds: float):
        """`limit_seconds` 0 is no limit: a command without a terminal may think for days."""
        self._limit_seconds = limit_seconds
        self.now()

    def now(self) -> None:
        """Something passes."""
        self._last = time.monotonic()

    def too_long_ago(self) -> bool:
        """Whether the session is to be ended for its silence."""
        return 0 < self._limit_seconds < time.monotonic() - self._last

    @property
    def words(self) -> str:
        """Why it was ended."""
        return f"The terminal was closed: for {self._limit_seconds / 60:.3g} min nothing was typed and nothing written."


def _carry_log(end: WorkerEnd, log: LogStream, ended: threading.Event, broken: list[Exception]) -> None:
    try:
        for chunk in log:
            end.send(chunk)
    except (DCloudError, RedisError) as error:
        broken.append(error)
    finally:
        ended.set()


def _say(end: WorkerEnd, sentence: str) -> None:
    """Beside what the program wrote; a terminal needs both ends of the line."""
    end.send(sentence.encode() + (b"\r\n" if end.request["tty"] else b"\n"))


def _hear(end: WorkerEnd) -> None:
    end.receive(0.001)
