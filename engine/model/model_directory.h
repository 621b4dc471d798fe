// SPDX-License-Identifier: Apache-2.0
// What a model directory's name and files tell, beside the files that are read.
#ifndef RECURVE_ENGINE_MODEL_MODEL_DIRECTORY_H_
#define RECURVE_ENGINE_MODEL_MODEL_DIRECTORY_H_

#include <string>

#include "absl/status/status.h"

namespace recurve {

// The name by which people know the model: the directory's own; of a snapshot in a Hugging Face
// cache (models--ORG--NAME/snapshots/COMMIT), ORG/NAME.
std::string ModelName(const std::string& directory);

// NotFound or InvalidArgument unless there is a directory of this name.
absl::Status CheckDirectory(const std::string& directory);

// For the end of an error about a missing file: which files the directory holds that have a model
// in a form that is not read, and what to do with them ("; found ..."). Empty if it has none.
std::string DescribeOtherFiles(const std::string& directory);

// The same of tokenizers, for a directory without tokenizer.json.
std::string DescribeOtherTokenizers(const std::string& directory);

}  // namespace recurve

#endif  // RECURVE_ENGINE_MODEL_MODEL_DIRECTORY_H_
