"""The samples of the page about testing are tests themselves, and pass."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-application.md"


def test_the_samples_of_the_page(tmp_path: Path) -> None:
    """Each sample is a test module of its own; all of them pass."""
    samples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for number, sample in enumerate(samples):
        (tmp_path / f"test_sample_{number}.py").write_text(sample)
    arguments = ["-q", "-p", "no:asyncio", "-p", "edgeserver.pytestplugin", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
