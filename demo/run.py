"""``make demo``: a relay on this machine, and what becomes of mails that are sent through it.

Every step shows the command a person would type and what it printed, and then
checks that what the step promises has happened. Ends by itself: exit code 0
when all of it was so, 1 with the reason when something was not.
"""

import os
import shlex
import signal
import sys
import time
from collections.abc import Iterable
from email.message import EmailMessage

from demo.stage import USUAL_BASE, BrokenPromiseError, Load, Stage, until
from rich.console import Console
from rich.text import Text

LOAD = 300
KILL_AFTER = 120
APP = "app@shop.example"
GREYLISTED = "defer-451@slow.example"


class Screen:
    """Plain text; colours and bold where there is a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._step = 0

    def step(self, title: str) -> None:
        self._step += 1
        self._console.print(Text(f"\n{self._step}. {title}", style="bold"))

    def say(self, text: str) -> None:
        self._console.print(Text(f"   {text}"))

    def command(self, line: str) -> None:
        self._console.print(Text.assemble("   ", ("$ ", "dim"), (line, "cyan")))

    def output(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._console.print(Text(f"   │ {line}".rstrip(), style="dim"))

    def good(self, text: str) -> None:
        self._console.print(Text.assemble("   ", ("✓ ", "bold green"), text))

    def end(self, text: str) -> None:
        self._console.print(Text(f"\n{text}", style="bold"))

    def bad(self, text: str) -> None:
        self._console.print(Text.assemble("   ", ("✗ ", "bold red"), text))


class Demo:
    """``promised`` counts recipients that got a 250; at the end each must have come to something."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self.stage, self.screen = stage, screen
        self.promised = 0

    def run(self) -> None:
        for act in (
            self.check,
            self.start,
            self.deliver,
            self.several,
            self.refuse,
            self.bounce,
            self.wait,
            self.quarantine,
            self.kill,
            self.count,
            self.stop,
        ):
            act()

    # The steps

    def check(self) -> None:
        self.screen.step("What the YAML says, checked before anything starts")
        self.shown("check", "demo/mail.yaml")

    def start(self) -> None:
        self.screen.step("A relay, and a mailbox server to deliver to instead of the Internet")
        base = self.stage.port_base
        ports = () if base == USUAL_BASE else ("--port-base", str(base))
        if ports:
            self.screen.say("(The usual ports are taken here, so others are used.)")
        self.shown("local", "up", "demo/mail.yaml", "--sink", "--detach", *ports)

    def deliver(self) -> None:
        self.screen.step("A mail")
        self.send("ann@corp.example", subject="Hello Ann")
        mail = self.arrived("ann@corp.example")
        self.screen.say("In Ann's mailbox:")
        self.screen.output(f"{name}: {' '.join(mail[name].split())}" for name in ("Received", "Subject"))
        self.promise(mail["Subject"] == "Hello Ann", "the subject is the one that was sent")
        self.screen.good("It was on disk before the 250, and it arrived.")

    def several(self) -> None:
        self.screen.step("One mail to people on three routes")
        people = ("bob@corp.example", "carol@shop.example", "dave@partner.example")
        self.send(*people, subject="All hands")
        for person in people:
            self.arrived(person)
        self.screen.good(
            "By MX, by LMTP and to a smart host, says the YAML; the sink stands in for all three."
        )

    def refuse(self) -> None:
        self.screen.step("A recipient that a route rejects")
        self.send("info@closed.example", code=1)
        self.promise(self.stage.queue() == [], "nothing of a refused mail is kept")
        self.screen.good("Refused while the client could hear it: nothing was accepted, nothing need bounce.")

    def bounce(self) -> None:
        self.screen.step("A recipient whose server says no")
        self.send("reject-550@corp.example", subject="Are you there?")
        report = self.arrived(APP)
        human = next(part for part in report.walk() if part.get_content_type() == "text/plain")
        self.promise(isinstance(human, EmailMessage), "the report has a text for people")
        self.screen.say(f"What {APP} gets, with the details for machines and the mail's header attached:")
        self.screen.output(human.get_content().rstrip().splitlines())
        self.promise(report.get_content_type() == "multipart/report", "the report is one in form")
        self.promise(report["Return-Path"] == "<>", "the report has the null sender")
        self.screen.good("The sender knows, in words.")

    def wait(self) -> None:
        self.screen.step("A recipient whose server says: not now")
        self.send(GREYLISTED, subject="No hurry")
        until(lambda: attempts(self.stage.queue()) >= 2, "a second attempt")
        self.shown("queue", "list")
        self.screen.good("It waits, says why, and is tried again and again, at growing intervals.")

    def quarantine(self) -> None:
        self.screen.step("Mail that a person looks at first")
        self.send("cfo@bank.example", sender="billing@shop.example", subject="Invoice 7")
        self.shown("queue", "list", "--status", "held")
        (held,) = self.stage.queue("--status", "held")
        self.promise(self.stage.mailbox("cfo@bank.example") == [], "held mail is not delivered")
        self.shown("queue", "release", held["queue_id"])
        self.arrived("cfo@bank.example")
        self.screen.good("Held until it was released, then delivered.")

    def kill(self) -> None:
        stage, screen = self.stage, self.screen
        screen.step(f"{LOAD} mails, and kill -9 in the middle of them")
        screen.say(
            "The mailbox server hangs meanwhile (kill -STOP), so that all of them must wait in the queue."
        )
        stage.freeze()
        before, victim = len(stage.queue()), stage.pid("outbound-0")
        names = [f"load-{n}" for n in range(LOAD)]
        with Load(stage.port, names, "corp.example") as load:
            until(lambda: len(load.promised) >= KILL_AFTER, f"{KILL_AFTER} mails to be accepted")
            screen.command(f"kill -9 {victim}")
            os.kill(victim, signal.SIGKILL)
            screen.say(f"{len(load.promised)} mails had their 250 by then; the clients go on until all have.")
            until(lambda: len(load.promised) == LOAD, "the relay to come back and take the rest", within_s=30)
        self.promised += LOAD
        until(lambda: stage.pid("outbound-0") not in (0, victim), "another process")
        waiting = len(stage.queue()) - before
        self.promise(waiting >= LOAD, f"the {LOAD} mails wait, and not {waiting}")
        screen.good(f"The relay was started again, and all {LOAD} wait in its queue.")
        if twice := waiting - LOAD:
            screen.say(f"({waiting}, to be exact: {twice} were on disk, but their 250 was never heard.)")
        stage.thaw()

        def arrived() -> bool:
            return all(stage.mailbox(f"{name}@corp.example") for name in names)

        until(arrived, "all of them to arrive", within_s=30)
        screen.good(f"The mailbox server answers again (kill -CONT), and has all {LOAD}.")

    def count(self) -> None:
        self.screen.step("The books")
        until(lambda: len(self.stage.queue()) == 1, "a queue with nothing but the mail that is tried again")
        boxes = self.stage.mailboxes()
        reports = boxes.pop(APP)
        delivered, twice = len(boxes), sum(boxes.values()) - len(boxes)
        self.screen.say(
            f"{self.promised} recipients were accepted: {delivered} have their mail, {reports} was reported, "
            "1 is in the queue."
        )
        if twice:
            self.screen.say(f"{twice} of them have it twice: a crash may repeat a mail, it never loses one.")
        self.promise(delivered + reports + 1 == self.promised, "the books balance")
        self.screen.good("Nothing is missing.")

    def stop(self) -> None:
        self.screen.step("The end")
        self.shown("local", "down")

    # What they are made of

    def shown(self, *arguments: str, code: int = 0) -> None:
        """Runs a command in front of the audience."""
        self.screen.command(shlex.join(("waystation", *arguments)))
        run = self.stage.waystation(*arguments)
        self.screen.output((run.stdout + run.stderr).rstrip().splitlines())
        self.promise(run.returncode == code, f"exit code {code}, not {run.returncode}")

    def send(self, *recipients: str, sender: str = APP, subject: str = "", code: int = 0) -> None:
        server = () if self.stage.port_base == USUAL_BASE else ("--server", f"127.0.0.1:{self.stage.port}")
        to = [word for recipient in recipients for word in ("--to", recipient)]
        title = ("--subject", subject) if subject else ()
        self.shown("send", *server, "--from", sender, *to, *title, code=code)
        if code == 0:
            self.promised += len(recipients)

    def arrived(self, address: str) -> EmailMessage:
        return until(lambda: self.stage.mailbox(address), f"a mail for {address}")[-1]

    def promise(self, kept: bool, what: str) -> None:
        if not kept:
            raise BrokenPromiseError(f"this ought to be so, and is not: {what}")


def attempts(queue: list[dict[str, object]]) -> int:
    """How often the one mail in the queue was tried."""
    tried: int = sum(r["attempts"] for message in queue for r in message["recipients"])  # type: ignore[attr-defined]
    return tried


def ended(_signal: int, _frame: object) -> None:
    raise BrokenPromiseError("it was told to end before it was over")


def main() -> int:
    signal.signal(signal.SIGTERM, ended)
    screen = Screen()
    began = time.monotonic()
    try:
        with Stage() as stage:
            Demo(stage, screen).run()
    except BrokenPromiseError as broken:
        screen.bad(str(broken))
        return 1
    except KeyboardInterrupt:
        screen.bad("interrupted; everything was stopped")
        return 1
    screen.end(f"All was as promised, in {time.monotonic() - began:.0f} s. By hand: README.md, Quickstart.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
