"""What a driver says: one line for each assertion, and an end that is not zero when one does not hold."""

import json
import sys

_held = 0


def holds(sentence, condition, seen=None):
    """A line for an assertion that holds; the end of the driver for one that does not."""
    global _held
    if not condition:
        told = "" if seen is None else ": " + json.dumps(seen, default=str)
        print(f"FAILED  {sentence}{told}", flush=True)
        # At once: what stands on a broken assertion has nothing more to say.
        sys.exit(1)
    _held += 1
    print(f"ok      {sentence}", flush=True)


def same(sentence, seen, wanted):
    """The same for two values; shows both when they differ."""
    holds(sentence, seen == wanted, {"seen": seen, "wanted": wanted})


def same_list(sentence, seen, wanted):
    """The same for two lists; shows the first place at which they differ."""
    pairs = zip(seen + [None] * len(wanted), wanted + [None] * len(seen))
    at = next((n for n, (one, other) in enumerate(pairs) if one != other), None)
    shown = {"lengths": [len(seen), len(wanted)], "at": at}
    if at is not None:
        shown |= {"seen": seen[at : at + 1], "wanted": wanted[at : at + 1]}
    holds(f"{sentence} ({len(wanted)})", at is None, shown)


def finish(driver):
    """The last line. A driver that asserted nothing has shown nothing."""
    print(f"{driver}: {_held} assertions held", flush=True)
    sys.exit(0 if _held > 0 else 1)
