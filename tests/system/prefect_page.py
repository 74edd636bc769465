"""The Prefect UI in a real browser, as a person uses it. Tests and the script that makes the screenshots share it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

    from tests.system.running import ReeldexUp


# Without a GPU, the CPU draws each CSS animation, such as that of a run that goes on, up to 60 times a second.
_STILL = """
addEventListener("DOMContentLoaded", () => {
    const style = document.createElement("style");
    style.textContent = "*, *::before, *::after { animation: none !important; transition: none !important }";
    document.head.append(style);
});
"""


class PrefectPage:
    """A browser on the UI of a running `reeldex up`; `outside` lists addresses elsewhere that its pages asked for."""

    def __init__(self, page: Page, up: ReeldexUp) -> None:
        self.page = page
        self._up = up
        self.outside: list[str] = []
        page.set_default_timeout(60_000)
        page.on("request", self._note)
        page.add_init_script(_STILL)

    def _note(self, request: Any) -> None:  # noqa: ANN401 - playwright's
        address = urlsplit(request.url)
        if address.scheme.startswith(("http", "ws")) and address.hostname != "127.0.0.1":
            self.outside.append(request.url)

    def go(self, path: str) -> None:
        """Open a page of the UI."""
        self.page.goto(f"{self._up.url}/v2{path}")

    def open_form(self, deployment: str, *, from_list: bool = False) -> None:
        """Open the form of a custom run of a deployment, such as `extract/extract`, from the list of all if asked.

        The list asks the server for the runs of each deployment every few seconds, which takes much of a core.
        """
        if from_list:
            self.go("/deployments")
            self.page.get_by_role("link", name=deployment.rpartition("/")[2], exact=True).first.click()
        else:
            self.go(f"/deployments/deployment/{self._up.deployment(deployment)['id']}")
        self.page.get_by_role("button", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Custom run").click()
        self.page.get_by_text("Enforce Parameter Schema").wait_for()

    def field(self, label: str) -> Locator:
        """Return the control of the form with this label."""
        pattern = re.compile(rf"^{re.escape(label)}( \(Optional\))?$")
        return self.page.locator("form").get_by_label(pattern).first

    def switch_on(self, label: str) -> None:
        """Switch a yes-or-no field on."""
        control = self.field(label)
        if control.get_attribute("aria-checked") != "true":
            control.click()

    def settings(self) -> str:
        """Return the text of the editor of further settings."""
        return str(self.page.locator("form .cm-content").inner_text())

    def fill_settings(self, text: str) -> None:
        """Replace the text of the editor of further settings."""
        editor = self.page.locator("form .cm-content")
        editor.click()
        editor.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)

    def submit(self) -> str:
        """Submit the form; return the run's id."""
        with self.page.expect_response(re.compile(r"/create_flow_run$")) as made:
            self.page.get_by_role("button", name="Submit", exact=True).click()
        answer = made.value
        assert answer.ok, answer.text()
        run_id = str(answer.json()["id"])
        self.go(f"/runs/flow-run/{run_id}")
        return run_id

    def refused(self) -> list[str]:
        """Press Submit on a form that holds nonsense; return what the browser says of its fields."""
        self.page.get_by_role("button", name="Submit", exact=True).click()
        said: list[str] = self.page.evaluate(
            "[...document.querySelectorAll('form :invalid')].map(each => each.validationMessage).filter(Boolean)"
        )
        return said

    def shows_state(self, name: str, seconds: float = 240) -> None:
        """Wait until the open page of a run shows this state, without being loaded again."""
        badge = self.page.locator("main").get_by_text(name, exact=True).first
        badge.wait_for(timeout=seconds * 1000)

    def tab(self, name: str) -> None:
        """Open a tab of a page."""
        self.page.get_by_role("tab", name=name).click()

    def open_artifact(self, caption: str) -> None:
        """Open the artifact whose caption begins so from the open run, and wait for its own page."""
        self.tab("Artifacts")
        self.page.get_by_text(re.compile(rf"^{re.escape(caption)}: ")).first.click()
        self.page.wait_for_url("**/artifacts/artifact/**")

    def choose(self, item: str) -> None:
        """Choose `Retry` or `Cancel` in the menu of the open run, and confirm it."""
        self.page.get_by_role("button", name="Open menu").first.click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()
        dialog = self.page.get_by_role("alertdialog").or_(self.page.get_by_role("dialog"))
        dialog.get_by_role("button", name=item).last.click()


@contextmanager
def prefect_page(browser: Browser, up: ReeldexUp, width: int = 1280, height: int = 1000) -> Iterator[PrefectPage]:
    """Open the UI of `up` in a profile of its own."""
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        page = PrefectPage(context.new_page(), up)
        page.page.goto(up.page_url)
        yield page
