// Native dialogs: data-dialog="#id" opens one, data-close closes it, and a form with
// data-confirm="#id" asks there before it is sent.

export function startDialogs(): void {
  document.addEventListener("click", (click) => {
    const target = click.target;
    if (!(target instanceof Element)) return;
    const opener = target.closest<HTMLElement>("[data-dialog]");
    if (opener && open(opener.dataset["dialog"])) click.preventDefault();
    if (target.closest("[data-close]")) target.closest("dialog")?.close();
    // The backdrop is the dialog itself; its content sits in a child.
    if (target instanceof HTMLDialogElement) target.close();
    closeOtherMenus(target);
  });
  document.addEventListener("submit", askFirst);
}

/** The form works without this script too; with it, the dialog's own form is the one that is sent. */
function askFirst(submit: SubmitEvent): void {
  const form = submit.target;
  if (form instanceof HTMLFormElement && open(form.dataset["confirm"])) submit.preventDefault();
}

function open(selector: string | undefined): boolean {
  const dialog = selector ? document.querySelector(selector) : null;
  if (!(dialog instanceof HTMLDialogElement)) return false;
  if (!dialog.open) dialog.showModal();
  return true;
}

function closeOtherMenus(target: Element): void {
  for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
}
