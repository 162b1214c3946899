"""python -m benchmarks [NAME ...]: run all benchmarks, or some, one after the other; hours for all of them.

One that cannot run (it says why: most want real clips, in the folder that LATE_SAMPLE_CLIPS names) is named at the end.
"""

import subprocess
import sys
from pathlib import Path


def main() -> None:
    here = Path(__file__).parent
    known = sorted(file.stem for file in here.glob("[a-z]*.py") if file.stem != "report")
    chosen = sys.argv[1:] or known
    unknown = [name for name in chosen if name not in known]
    if unknown:
        sys.exit(f"error: no benchmark {', '.join(unknown)}; there are: {', '.join(known)}")
    failed = []
    for name in chosen:  # each in a process of its own, so that none finds threads or caches of another
        print(f"== {name}", flush=True)
        ended = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=here.parent)
        if ended.returncode:
            failed.append(name)
    if failed:
        sys.exit(f"error: could not run {', '.join(failed)}; see above")


if __name__ == "__main__":
    main()
