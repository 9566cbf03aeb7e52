// What the page says when the server did not do what was asked.

export function failureText(verb: string, status: number, reference: string | null): string {
  const happened = status === 0 ? "The server did not answer." : `The server refused (${status}).`;
  const kept =
    verb === "get"
      ? "What you see is what was there before."
      : "Your input is still here; look whether it took effect before you send it again.";
  return [happened, kept, reference ? `Reference: ${reference}` : ""].join(" ").trim();
}
