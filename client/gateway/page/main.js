// SPDX-License-Identifier: Apache-2.0
// Puts the page together.

import { lookAgain, watchEngine } from "./engine.js";
import { fitForm } from "./form.js";
import { watchKey } from "./key.js";
import { setModel, watchPlayground } from "./playground.js";
import { setDeepest, watchTokens } from "./tokens.js";

let known = null;

// A model that is replaced has other knobs.
function onModel(model) {
  const key = JSON.stringify(model);
  if (key === known) return;
  known = key;
  const facts = [model.precision, model.backend, `${model.num_recursions} recursions`, `${model.router.replace("_", " ")} router`];
  if (model.num_recursions < 2) facts.splice(2);
  document.getElementById("model").textContent = [model.model_name, ...facts].join(" · ");
  setDeepest(model.num_recursions);
  fitForm(model);
  setModel(model);
}

watchKey(lookAgain);
watchTokens();
watchPlayground();
watchEngine(onModel);
