// A HasteConv node, whatever provider runs it: its attributes, its constants, and the inputs of one run.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "node.h"

namespace haste::ort {

enum ConvInput : size_t { kX, kW, kB, kV, kL, kZ, kT, kA };

// Types and presence of inputs and outputs, as docs/operator.md has them. A custom operator has one type per input, so
// each type that W may have makes an operator of its own; they share the name, and the runtime picks by type.
Schema conv_schema(ElementType weights);

struct ConvConstants {
  Tensor weights, bias, hyperplanes;
};

// What the inputs of one run say; `shape` is that of Y.
struct ConvRun {
  Tensor x, z;        // z.data is null without a residual
  Tensor correction;  // [2,M], data is null without one
  int64_t hyperplanes;
  float tau;  // 0 when there is none
  Shape shape;
};

class ConvNode {
 public:
  // Refuses attributes that no kernel supports.
  ConvNode(const Api& api, const OrtKernelInfo* info);

  const Api& api() const { return node_.api(); }
  const Node& node() const { return node_; }

  // W, B and V, if all three are constant.
  std::optional<ConvConstants> constants(const OrtKernelInfo* info) const;
  ConvConstants constants(const OrtKernelContext* context) const;
  // Attributes and the shapes of the constants together; refuses shapes that contradict each other.
  haste_conv_params params(const ConvConstants& constants) const;

  // output_size(height, width, &out_height, &out_width) is the kernels' own; it may throw Error.
  template <typename OutputSize>
  ConvRun read_run(const OrtKernelContext* context, const haste_conv_params& params, OutputSize output_size) const {
    ConvRun run = read_inputs(context, params);
    output_size(run.x.shape[2], run.x.shape[3], &run.shape[2], &run.shape[3]);
    check_residual(run);
    return run;
  }

  // Adds the node's name to an error of the kernels.
  template <typename Body>
  void named(Body body) const {
    node_.named(body);
  }

 private:
  haste_merge read_merge() const;
  haste_weight_layout read_weight_layout() const;
  void read_activation();
  ConvRun read_inputs(const OrtKernelContext* context, const haste_conv_params& params) const;
  void check_residual(ConvRun& run) const;

  Node node_;
  std::vector<int64_t> kernel_, pads_;
  std::string auto_pad_;
  haste_conv_params params_{};  // what the attributes say
};

}  // namespace haste::ort
