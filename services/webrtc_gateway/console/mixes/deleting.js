// Delete a mix, after a question.

import { call, CommandError } from "../commands.js";
import { confirmed } from "../dialog.js";
import { toast } from "../toasts.js";
import { SERVICE } from "./model.js";

/** Ask, and delete; whether it was. */
export async function deleteMix(name, button) {
  const text = "Its picture and sound end, with its outputs and with the streams that were made for it. Streams that it only shows stay, and so do recorded files.";
  if (!(await confirmed(`Delete the mix ${name}?`, text, "Delete"))) return false;
  button.disabled = true;
  try {
    await call(`${SERVICE}.delete`, { mix: name });
    toast(`${name} is deleted`);
    return true;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    toast(error.message, "bad");
    return false;
  } finally {
    button.disabled = false;
  }
}
