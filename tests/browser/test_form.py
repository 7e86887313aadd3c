"""The form of a new environment."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from seen import photograph


@pytest.fixture
def form(signed_in: Page, host: Any) -> Page:
    signed_in.get_by_role("link", name="New environment").click()
    expect(signed_in.get_by_role("heading", name="New environment")).to_be_visible()
    expect(signed_in.locator(".chipbox")).to_be_visible()
    return signed_in


def test_from_the_form_to_running(form: Page) -> None:
    form.get_by_label("Name", exact=True).fill("vision-lab")
    form.get_by_label("Framework").select_option("PyTorch")
    add = form.get_by_label("Libraries")
    add.fill("numpy")
    add.press("Enter")
    add.press_sequentially("pandas==3.1.1")
    add.press("Enter")
    expect(form.get_by_role("button", name="Remove pandas==3.1.1", exact=True)).to_be_visible()
    form.get_by_label("GPU", exact=True).select_option("Any GPU")
    expect(form.locator("#outlook")).to_contain_text("Starts now on gpu-1")
    expect(form.locator("#contract")).to_contain_text('"pandas==3.1.1"')
    photograph(form, "new")
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_role("heading", name="vision-lab")).to_be_visible()
    expect(form.get_by_text("It runs on gpu-1.")).to_be_visible()
    for name in ("torch", "numpy", "pandas==3.1.1"):
        expect(form.get_by_text(name, exact=True).first).to_be_visible()
    form.get_by_role("link", name="Again with changes").click()
    expect(form.get_by_label("Name", exact=True)).to_have_value("vision-lab")
    expect(form.get_by_label("Framework")).to_have_value("torch")
    expect(form.get_by_role("button", name="Remove numpy")).to_be_visible()
    expect(form.locator("#outlook")).to_contain_text("Waits until 1 GPU")


def test_what_can_never_fit_offers_what_would(form: Page) -> None:
    form.get_by_label("GPU", exact=True).select_option("Any GPU")
    form.get_by_label("How many GPUs").fill("16")
    form.get_by_label("CPU", exact=True).last.fill("99")
    expect(form.locator("#outlook")).to_contain_text("Never")
    photograph(form, "new-never")
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_role("alert")).to_be_visible()
    expect(form.locator("#wrong-cpu")).to_contain_text("more than any host could ever give")
    expect(form.locator("#wrong-gpu")).to_contain_text("1 such GPU")
    form.get_by_role("button", name="Use that").click()
    expect(form.get_by_label("How many GPUs")).to_have_value("1")
    expect(form.locator("#outlook")).to_contain_text("Starts now on gpu-1")
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_text("It runs on gpu-1.")).to_be_visible()


def test_a_pasted_list_and_a_dropped_file_fill_it(form: Page, tmp_path: Any) -> None:
    form.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text", "# mine\\nnumpy>=2  # fast\\n\\npandas[excel]==3.1.1 \\\\\\n  --hash=sha256:00\\n");
            document.activeElement.blur();
            const input = document.getElementById("libraries-add");
            input.dispatchEvent(new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
        }"""
    )
    expect(form.get_by_role("button", name="Remove numpy>=2")).to_be_visible()
    expect(form.get_by_role("button", name="Remove pandas[excel]==3.1.1")).to_be_visible()
    contract = tmp_path / "mine.yaml"
    contract.write_text("env-name: from-a-file\nresources: {ram: 4GiB, cpu: '3'}\nlanguage: {libraries: [scipy]}\n")
    form.locator("#file").set_input_files(contract)
    expect(form.get_by_label("Name", exact=True)).to_have_value("from-a-file")
    expect(form.locator("#ram")).to_have_value("4")
    expect(form.get_by_role("button", name="Remove scipy")).to_be_visible()
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("polars>=1  # quick\n-e .\nduckdb\n")
    form.locator("#file").set_input_files(requirements)
    expect(form.get_by_role("button", name="Remove polars>=1")).to_be_visible()
    expect(form.get_by_text("Left out:")).to_contain_text("-e .")
    contract.write_text("languag: {}\n")
    form.locator("#file").set_input_files(contract)
    expect(form.get_by_role("alert")).to_contain_text("Did you mean 'language'?")


def test_a_form_that_was_tampered_with_gets_the_apis_errors_beside_its_fields(form: Page) -> None:
    form.evaluate(
        """() => {
            const put = (name, value) => {
                const field = document.forms.new.elements[name];
                field.replaceWith(Object.assign(document.createElement("input"), {name, value}));
            };
            put("system", "debian <script>");
            put("python", "{{7*7}}");
            put("lifetime", "for ever");
            document.getElementById("libraries").value = "<img src=x onerror=alert(1)>";
        }"""
    )
    form.get_by_label("Name", exact=True).fill("\u202egnp.exe")
    form.get_by_label("RAM", exact=True).last.fill("lots")
    form.get_by_role("button", name="Submit").click()
    expect(form.locator("#wrong-ram")).to_contain_text("is not a size")
    expect(form.locator("#wrong-libraries")).to_contain_text("<img src=x")  # as text
    for field in ("name", "system", "python", "lifetime"):
        expect(form.locator(f"#wrong-{field}")).to_be_visible()
    expect(form.locator("main img[src]")).to_have_count(0)
    expect(form.get_by_text("49")).to_have_count(0)
    photograph(form, "new-refused")


def test_the_same_form_in_two_tabs_makes_one_environment(form: Page) -> None:
    form.get_by_label("Name", exact=True).fill("once")
    other = form.context.new_page()
    other.goto(form.url)
    other.get_by_label("Name", exact=True).fill("once")
    for tab in (form, other):
        tab.get_by_role("button", name="Submit").click()
        expect(tab.get_by_role("heading", name="once")).to_be_visible()
    assert form.url == other.url
    form.go_back()
    form.get_by_label("Name", exact=True).fill("another")
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_role("alert")).to_contain_text("sent once already")
    form.get_by_role("button", name="Submit").click()
    expect(form.get_by_role("heading", name="another")).to_be_visible()


def test_a_template_fills_it_and_it_becomes_one(form: Page) -> None:
    cards = form.get_by_role("navigation", name="Templates")
    cards.get_by_role("link").filter(has_text="PyTorch").first.click()
    expect(form.get_by_label("Framework")).to_have_value("torch")
    form.get_by_label("Name", exact=True).fill("lab")
    form.locator("aside summary", has_text="The contract").click()
    form.get_by_label("Name of the template").fill("Not a name")
    form.get_by_role("button", name="Save as template").click()
    expect(form.get_by_role("alert")).to_contain_text("is not the name of a template")
    form.locator("aside summary", has_text="The contract").click()
    form.get_by_label("Name of the template").fill("mine")
    form.get_by_role("button", name="Save as template").click()
    expect(cards.get_by_role("link").filter(has_text="mine")).to_have_attribute("aria-current", "true")
    expect(form.get_by_label("Name", exact=True)).to_have_value("lab")
    photograph(form, "templates", [(1280, "light"), (400, "dark")])
    form.get_by_role("link", name="Change the template mine").click()
    form.get_by_label("Title").fill("My <b>lab</b>")
    form.get_by_label("everyone may use it").check()
    photograph(form, "template", [(1280, "light"), (400, "dark")])
    form.get_by_role("button", name="Save").click()
    expect(cards.get_by_text("yours, for everyone")).to_be_visible()
    form.get_by_role("link", name="Change the template My <b>lab</b>").click()
    form.get_by_role("link", name="Delete").click()
    form.get_by_role("button", name="Delete the template").click()
    expect(cards).to_be_visible()
    expect(cards.locator(".card-line")).to_have_count(0)


def test_whether_libraries_go_together_is_told_beside_the_form(form: Page, host: Any) -> None:
    add, ask = form.get_by_label("Libraries"), form.get_by_role("button", name="Do these libraries go together?")
    add.fill("numpy")
    ask.click()
    told = form.locator("#together")
    expect(told).to_contain_text("Yes; 5 MiB would be fetched.")
    photograph(form, "libraries-together", [(1280, "light"), (400, "dark")])
    add.fill("slow")
    ask.click()
    expect(told).to_contain_text("A host looks")
    add.fill("nosuchlib")  # what was asked first is answered while nobody waits for it any more
    add.press("Enter")
    expect(told).to_be_empty()
    host.go_on.set()
    ask.click()
    expect(told).to_contain_text("Because nosuchlib was not found")
    photograph(form, "libraries-apart", [(1280, "light"), (400, "dark")])
    expect(form.get_by_role("button", name="Submit")).to_be_enabled()
